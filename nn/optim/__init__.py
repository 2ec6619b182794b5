"""Update rules, schedules and clipping."""
