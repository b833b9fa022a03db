// What the theme leaves undone for those who use a keyboard, a screen reader or a phone.

function reachable() {
  for (const formula of document.querySelectorAll("mjx-container:not([display])"))
    formula.classList.toggle("wide", formula.getBoundingClientRect().width > formula.closest("p, li, td, figcaption, div").clientWidth);
  // what scrolls sideways can be scrolled with the arrow keys
  for (const box of document.querySelectorAll("mjx-container, table.docutils, .pst-scrollable-table-container, div.highlight pre"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}

addEventListener("load", () => {
  // the theme's label hides the words that one sees on the button
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reachable);
});
addEventListener("resize", reachable);
