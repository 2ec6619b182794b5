"""Certificates of ops: what is checked (checks), on which samples (builtin), what is wrong (diagnose)."""
