// On a table page that is filtered by likeness: the order by likeness, out of the menu into sight.
// (No hook of Datasette can order rows, and 0.65 has none for a line above the table.)

const named = (link) => link.textContent.trim().startsWith("Order by likeness");
const link = [...document.querySelectorAll("a")].find(named);
const table = document.querySelector(".rows-and-columns, .table-wrapper");
if (link && table) {
  const shown = document.createElement("a");
  shown.href = link.href;
  shown.textContent = "Order by likeness";
  const line = document.createElement("p");
  line.className = "imgsim-order";
  line.append(shown);
  table.before(line);
}
