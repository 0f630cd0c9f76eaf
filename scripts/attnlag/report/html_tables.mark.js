function (row, data) {
  const means = TERM < 0 || /^(lag|lead)_/.test(data[TERM]);
  if (FINDING >= 0 && means) row.classList.add(data[FINDING]);
}
