// Paper of 28 × 28 pixels, on which a digit is drawn with the pointer or with keys, or put from an image file.
"use strict";
// Call ``changed`` after every change with the image, centred as in MNIST, and with the drawing as text for the address,
// which is empty when nothing is drawn. Returns a function that puts such a text, or pixels in [0, 1], on the paper.
page.paper = (changed) => {
  const canvas = page.byId("paper"), context = canvas.getContext("2d"), SIDE = 28;
  let ink = new Float32Array(SIDE * SIDE), pen = [14, 14], before = null, down = false;

  // Four bits a pixel, as letters, for the address.
  const packed = () => Array.from(ink, (v) => Math.round(15 * v).toString(16)).join("").replace(/0+$/, "").replace(/0{3,61}/g, (zeros) => "z" + (zeros.length - 3).toString(36).padStart(2, "0"));
  const unpacked = (text) => Float32Array.from(text.replace(/z(..)/g, (_, n) => "0".repeat(parseInt(n, 36) + 3)).padEnd(SIDE * SIDE, "0").slice(0, SIDE * SIDE), (letter) => parseInt(letter, 16) / 15 || 0);

  // The images of MNIST have their centre of mass in the middle.
  function centred(image) {
    let mass = 0, x = 0, y = 0;
    image.forEach((v, i) => ((mass += v), (x += v * (i % SIDE)), (y += v * Math.floor(i / SIDE))));
    if (!mass) return image;
    const [right, below] = [Math.round(13.5 - x / mass), Math.round(13.5 - y / mass)];
    return image.map((_, i) => {
      const [column, row] = [(i % SIDE) - right, Math.floor(i / SIDE) - below];
      return column < 0 || row < 0 || column >= SIDE || row >= SIDE ? 0 : image[row * SIDE + column];
    });
  }

  // A round, soft pen of two pixels, along a line.
  function stroke(from, to) {
    const steps = Math.ceil(4 * Math.hypot(to[0] - from[0], to[1] - from[1])) || 1;
    for (let step = 0; step <= steps; step++) {
      const [x, y] = from.map((v, i) => v + ((to[i] - v) * step) / steps);
      ink.forEach((v, i) => (ink[i] = Math.max(v, Math.min(1, Math.max(0, 1.9 - Math.hypot((i % SIDE) + 0.5 - x, Math.floor(i / SIDE) + 0.5 - y))))));
    }
  }

  function show() {
    page.image(canvas, ink);
    context.strokeStyle = "#777";
    context.strokeRect(...[4, 4, 20, 20].map((v) => (v * canvas.width) / SIDE));
    if (document.activeElement === canvas) {
      context.strokeStyle = down ? "#ff7f0e" : "#4fc3f7"; // the pen of those who draw with keys
      context.strokeRect(...[pen[0] - 1, pen[1] - 1, 2, 2].map((v) => (v * canvas.width) / SIDE));
    }
  }

  function say() {
    ink = ink.map((v) => Math.round(15 * v) / 15); // what the address can hold
    show();
    changed(centred(ink), packed());
  }
  const put = (drawing) => ((ink = typeof drawing === "string" ? unpacked(drawing) : drawing), say());
  const clear = () => put("");

  page.pointer(canvas, true, (x, y) => {
    const at = [x * SIDE, y * SIDE];
    stroke(before ?? at, at);
    before = at;
    say();
  });
  addEventListener("pointerup", () => (before = null));
  page.arrows(canvas, (x, y) => {
    const to = [pen[0] + x, pen[1] + y].map((v) => Math.max(1, Math.min(SIDE - 1, v)));
    if (down) stroke(pen, to);
    pen = to;
    (down ? say : show)();
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") down = !down;
    else if (event.key === "Delete" || event.key === "Backspace") clear();
    else return;
    if (down) stroke(pen, pen);
    say();
    event.preventDefault();
  });
  canvas.addEventListener("focus", show);
  canvas.addEventListener("blur", show);
  page.byId("clear").addEventListener("click", clear);

  // An image file of one's own, fitted into the middle; dark on light is turned round.
  async function take(file) {
    const picture = await createImageBitmap(file), small = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
    const scale = 20 / Math.max(picture.width, picture.height), size = [picture.width * scale, picture.height * scale];
    small.drawImage(picture, ...size.map((v) => (SIDE - v) / 2), ...size);
    const pixels = small.getImageData(0, 0, SIDE, SIDE).data, grey = ink.map((_, i) => ((pixels[4 * i] + pixels[4 * i + 1] + pixels[4 * i + 2]) / 765));
    const inside = (i) => pixels[4 * i + 3] > 127, all = [...ink.keys()].filter(inside), light = all.reduce((sum, i) => sum + grey[i], 0) / all.length > 0.5;
    put(grey.map((v, i) => (!inside(i) ? 0 : light ? 1 - v : v)));
  }
  page.byId("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  canvas.addEventListener("dragover", (event) => event.preventDefault());
  canvas.addEventListener("drop", (event) => (event.preventDefault(), take(event.dataTransfer.files[0])));
  return put;
};
