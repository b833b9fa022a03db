// What the pages of the explorers share: the state in the address, and pictures on a canvas.
"use strict";
const page = {
  byId: (id) => document.getElementById(id),

  // #a=1&b=2 as an object; defaults fill what is missing.
  state: (defaults) => ({ ...defaults, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) }),

  // Into the address, once nothing has changed for a while: browsers limit how often.
  remember(state) {
    clearTimeout(page.waiting);
    page.waiting = setTimeout(() => location.replace((page.mine = "#" + new URLSearchParams(state))), 300);
  },

  // Call when the reader follows a link to another state.
  followed: (call) => addEventListener("hashchange", () => location.hash !== page.mine && call()),

  // A grey image with values in [0, 1], white on black, enlarged to a square of the canvas, by default to all of it.
  image(canvas, values, x = 0, y = 0, size = canvas.width) {
    const side = Math.sqrt(values.length), small = new OffscreenCanvas(side, side), context = canvas.getContext("2d");
    const pixels = new ImageData(side, side);
    values.forEach((v, i) => pixels.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i));
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, x, y, size, size);
  },

  // Call with the place of the pointer in the canvas, from 0 to 1 each; ``held`` only while a button or finger is down.
  pointer(canvas, held, call) {
    const at = (event) => {
      if (held && !event.buttons) return;
      const box = canvas.getBoundingClientRect();
      call((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      event.preventDefault();
    };
    canvas.addEventListener("pointermove", at);
    canvas.addEventListener("pointerdown", at);
  },

  // Call with the direction of an arrow key that is pressed on the canvas.
  arrows(canvas, call) {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (!directions[event.key]) return;
      call(...directions[event.key], event.shiftKey);
      event.preventDefault();
    });
  },
};
