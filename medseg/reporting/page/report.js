"use strict";
/* Sort a table by a column: numbers as numbers, missing values last, equal ones in their old order. */
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (first, second) => {
      const a = value(first), b = value(second);
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      const numeric = heading.classList.contains("numeric");
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
      return down ? -order : order;
    };
    body.append(...Array.from(body.rows).sort(compare));
  });
}
