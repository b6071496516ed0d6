// A click on a column's name sorts by it; another click turns the order around.
const table = document.querySelector("table");
const heads = [...table.tHead.rows[0].cells];
// Keys of one column are all numbers or all words. Numbers have the same number of digits, as many as the largest one.
heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
  const up = head.getAttribute("aria-sort") !== "ascending";
  heads.forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[column].dataset.key;
  const compare = (a, b) => (key(a) > key(b)) - (key(a) < key(b));
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort((a, b) => up ? compare(a, b) : compare(b, a)));
}));
