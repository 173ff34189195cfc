// Keys: arrows, space and the page keys turn slides; Home and End; f fills the screen. A click turns on, on the third where a line begins back.
const slides = [...document.querySelectorAll("section")];
let shown = 0;
function show(number) {
  shown = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, i) => slide.classList.toggle("shown", i === shown));
  history.replaceState(null, "", "#" + (shown + 1));
}
const onwards = document.documentElement.dir === "rtl" ? -1 : 1; // a text that is read from the right goes on to the left
const steps = { ArrowRight: onwards, ArrowDown: 1, PageDown: 1, " ": 1, Enter: 1, ArrowLeft: -onwards, ArrowUp: -1, PageUp: -1, Backspace: -1 };
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in steps) show(shown + steps[event.key]);
  else if (event.key === "Home") show(0);
  else if (event.key === "End") show(slides.length - 1);
  else if (event.key === "f") document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
  else return;
  event.preventDefault();
});
addEventListener("click", (event) => {
  const read = onwards > 0 ? event.clientX : innerWidth - event.clientX;
  if (!event.target.closest("a")) show(shown + (read < innerWidth / 3 ? -1 : 1));
});
const asked = () => (parseInt(location.hash.slice(1)) || 1) - 1;
addEventListener("hashchange", () => show(asked()));
document.body.classList.add("one");
show(asked());
