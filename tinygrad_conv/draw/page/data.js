// The data of the page: columns become records again, and numbers about arrays get their names.

function unpack({ fields, ...packed }) {
  const records = (columns) => {
    const made = (Object.values(columns)[0] ?? []).map(() => ({}));
    for (const [name, values] of Object.entries(columns)) {
      values.forEach((value, i) => { if (value !== null) made[i][name] = value; });
    }
    return made;
  };
  for (const name of ["boxes", "edges", "scopes", "steps"]) packed[name] = records(packed[name]);
  for (const box of packed.boxes) {
    for (const tensor of [box, ...(box.outputs ?? [])]) {
      for (const [name, names] of Object.entries(fields)) {
        if (tensor[name]) tensor[name] = Object.fromEntries(tensor[name].map((value, i) => [names[i], value]));
      }
    }
  }
  return packed;
}
