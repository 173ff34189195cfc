// What is wider than its box can be scrolled by the keyboard: it takes its place in the order of the Tab key.
const wide = () => document.querySelectorAll("pre, .formula, table").forEach((part) => {
  if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
  else part.removeAttribute("tabindex");
});
addEventListener("load", wide);
addEventListener("resize", wide);
