"use strict";
(() => {
  const read = (id) => document.getElementById(id);
  const grid = JSON.parse(read("what-if-grid").textContent);
  const panel = read("what-if-panel");
  const table = document.querySelector(".what-if table");
  const inputs = new Map([...panel.querySelectorAll("input")].map((input) => [input.name, input]));
  const [outputs, traffic, replicas, size, limit] = grid.axes;

  const placeOn = (axis) => (inputs.has(axis.name) ? Number(inputs.get(axis.name).value) : axis.own);

  const cellAt = (...places) =>
    grid.cells[places.reduce((number, place, axis) => number * grid.axes[axis].texts.length + place, 0)];

  // A cell without numbers is a text; one with numbers says which limits it misses and meets, and the verdict on others.
  const verdictOf = ([, , missed, met, others = "met"], place) => {
    if (place < missed || others === "missed") return "missed";
    return place < met ? "inconclusive" : others;
  };

  const showPoint = () => {
    const cell = cellAt(...[outputs, traffic, replicas, size].map(placeOn));
    const verdict = typeof cell === "string" ? "" : verdictOf(cell, placeOn(limit));
    read("what-if-found").textContent = verdict ? cell[1] : cell;
    read("what-if-other").textContent = (verdict && cell[5]) || "";
    read("what-if-price").textContent = grid.prices[placeOn(replicas)];
    const told = read("what-if-verdict");
    told.className = `verdict ${verdict}`;
    told.hidden = !verdict;
    told.textContent = verdict ? `${grid.verdicts[verdict].sign} ${grid.verdicts[verdict].text}` : "";
  };

  // A narrow screen has only a part of the table; the point moves into it.
  const reveal = (cell) => {
    const box = table.parentElement;
    const right = cell.offsetLeft + cell.offsetWidth;
    const isSeen = cell.offsetLeft >= box.scrollLeft && right <= box.scrollLeft + box.clientWidth;
    if (!isSeen) box.scrollLeft = cell.offsetLeft - box.clientWidth / 2;
  };

  const showTable = () => {
    grid.rows.forEach((row, line) => {
      traffic.texts.forEach((_, column) => {
        const cell = cellAt(placeOn(outputs), column, row, placeOn(size));
        const verdict = typeof cell === "string" ? "" : verdictOf(cell, placeOn(limit));
        const shown = table.tBodies[0].rows[line].cells[column + 1];
        shown.textContent = verdict ? `${grid.verdicts[verdict].sign} ${cell[0]}` : cell;
        shown.className = verdict || "theory";
        if (row === placeOn(replicas) && column === placeOn(traffic)) {
          shown.classList.add("chosen");
          reveal(shown);
        }
      });
    });
  };

  const show = () => {
    for (const axis of grid.axes.filter((one) => inputs.has(one.name))) {
      const text = axis.texts[placeOn(axis)];
      inputs.get(axis.name).setAttribute("aria-valuetext", text);
      read(`what-if-${axis.name}-now`).textContent = text;
    }
    showPoint();
    showTable();
  };

  inputs.forEach((input) => input.addEventListener("input", show));
  const goBack = () => {
    for (const axis of grid.axes.filter((one) => inputs.has(one.name))) inputs.get(axis.name).value = axis.own;
    show();
  };
  read("what-if-back").addEventListener("click", goBack);
  window.addEventListener("beforeprint", goBack); // paper shows the plan
  panel.hidden = false;
  show();
})();
