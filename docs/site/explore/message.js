// A message in generated digits, as in chapter 15.
"use strict";
{
  const paper = page.byId("letters"), context = paper.getContext("2d"), text = page.byId("message"), pull = page.byId("pull");
  const COLUMNS = 8, LONGEST = 16, SIZE = paper.width / COLUMNS;
  const means = nets.rows(alphabet.means, 100), letters = nets.rows(alphabet.letters, 100), each = letters.length / 10;
  const made = new Map(); // images that were generated before
  let turned = [], chosen = 0; // by how many letters of its digit each place was turned on; the place that keys change

  // A digit that occurs again takes the next of its letters.
  const which = (digits, place) => (digits.slice(0, place).split(digits[place]).length - 1 + turned[place]) % each;

  function letter(digit, i) {
    const key = [digit, i, pull.value].join();
    if (!made.has(key)) {
      const image = nets.run("generator", nets.pull(letters[digit * each + i], means[digit], Number(pull.value))), p = nets.run("cnn", image);
      made.set(key, { image, read: p.indexOf(Math.max(...p)) });
    }
    return made.get(key);
  }

  function show() {
    const digits = text.value, wrong = digits.replace(/\d/g, "");
    text.setAttribute("aria-invalid", Boolean(wrong));
    context.fillStyle = "black";
    context.fillRect(0, 0, paper.width, paper.height);
    if (wrong || !digits) return (page.byId("read").textContent = wrong ? `A message consists of digits, and has no ${wrong[0]}.` : "Type a digit.");
    turned = Array.from(digits, (_, place) => turned[place] ?? 0);
    chosen = Math.min(chosen, digits.length - 1);
    const read = turned.map((_, place) => {
      const { image, read } = letter(digits[place], which(digits, place));
      page.image(paper, image, (place % COLUMNS) * SIZE, Math.floor(place / COLUMNS) * SIZE, SIZE);
      return read;
    });
    if (document.activeElement === paper) {
      context.strokeStyle = "#ff7f0e";
      context.lineWidth = 3;
      context.strokeRect((chosen % COLUMNS) * SIZE + 2, Math.floor(chosen / COLUMNS) * SIZE + 2, SIZE - 4, SIZE - 4);
    }
    const right = read.filter((digit, place) => digit === Number(digits[place])).length;
    page.byId("read").textContent = `The CNN reads ${read.join("")}: ${right} of ${digits.length} as written.`;
    page.remember({ message: digits, pull: pull.value, turned: turned.join("") });
  }

  // Another letter for the digit at a place.
  function turn(place) {
    if (!(place < turned.length)) return;
    chosen = place;
    turned[place] = (turned[place] + 1) % 10;
    show();
  }

  paper.addEventListener("click", (event) => turn(Math.floor(event.offsetX / paper.clientWidth * COLUMNS) + COLUMNS * Math.floor(event.offsetY / paper.clientHeight * 2)));
  page.arrows(paper, (x, y) => ((chosen = Math.max(0, Math.min(turned.length - 1, chosen + x + COLUMNS * y))), show()));
  paper.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    turn(chosen);
    event.preventDefault();
  });
  for (const event of ["focus", "blur"]) paper.addEventListener(event, show);
  text.addEventListener("input", show);
  pull.addEventListener("input", show);
  function fromAddress() {
    const state = page.state({ message: "27182818", pull: 0.2, turned: "" });
    text.value = state.message.slice(0, LONGEST);
    pull.value = state.pull;
    turned = Array.from(state.turned, Number);
    show();
  }
  page.followed(fromAddress);
  fromAddress();
}
