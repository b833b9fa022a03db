// The latent plane of the VAE of chapter 11: test codes as a map, and the decoded image under the pointer.
"use strict";
{
  const map = page.byId("map"), context = map.getContext("2d"), picture = page.byId("decoded"), REACH = 3.5;
  const sliders = [page.byId("first"), page.byId("second")], values = nets.floats(codes.values);
  const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#555555", "#bcbd22", "#17becf"];
  const toMap = (z) => ((z / REACH + 1) / 2) * map.width;
  const background = new OffscreenCanvas(map.width, map.height);
  let z = page.state({ z: "0,0" }).z.split(",").map(Number);

  function drawBackground() {
    const under = background.getContext("2d");
    under.fillStyle = "white";
    under.fillRect(0, 0, map.width, map.height);
    under.strokeStyle = "#ccc";
    for (let tick = -3; tick <= 3; tick++) {
      under.strokeRect(toMap(tick), 0, 0, map.height);
      under.strokeRect(0, toMap(tick), map.width, 0);
    }
    const sums = COLOURS.map(() => [0, 0, 0]);
    codes.digits.forEach((digit, i) => {
      const [a, b] = [values[2 * i], values[2 * i + 1]];
      under.fillStyle = COLOURS[digit];
      under.fillRect(toMap(a) - 1.5, toMap(-b) - 1.5, 3, 3);
      [a, b, 1].forEach((v, j) => (sums[digit][j] += v));
    });
    under.font = "bold 26px sans-serif";
    under.lineWidth = 5;
    sums.forEach(([a, b, n], digit) => {
      under.strokeStyle = "white";
      under.fillStyle = COLOURS[digit];
      under.strokeText(digit, toMap(a / n) - 7, toMap(-b / n) + 9);
      under.fillText(digit, toMap(a / n) - 7, toMap(-b / n) + 9);
    });
  }

  function show() {
    z = z.map((v) => Math.max(-REACH, Math.min(REACH, Number.isFinite(v) ? v : 0)));
    context.drawImage(background, 0, 0);
    context.strokeStyle = "black";
    context.lineWidth = 2;
    context.strokeRect(toMap(z[0]) - 7, toMap(-z[1]) - 7, 14, 14);
    page.image(picture, nets.run("decoder", z));
    sliders.forEach((slider, i) => (slider.value = z[i]));
    page.byId("where").textContent = `z = (${z.map((v) => v.toFixed(2)).join(", ")})`;
    page.remember({ z: z.map((v) => v.toFixed(2)).join(",") });
  }

  const move = (to) => ((z = to), show());
  page.pointer(map, false, (x, y) => move([(2 * x - 1) * REACH, (1 - 2 * y) * REACH]));
  page.arrows(map, (x, y, far) => move([z[0] + x * (far ? 0.5 : 0.1), z[1] - y * (far ? 0.5 : 0.1)]));
  sliders.forEach((slider, i) => slider.addEventListener("input", () => move(z.map((v, j) => (i === j ? +slider.value : v)))));
  const { normal } = nets.generator(Date.now());
  page.byId("draw").addEventListener("click", () => move([normal(), normal()]));
  page.followed(() => move(page.state({ z: "0,0" }).z.split(",").map(Number)));
  drawBackground();
  show();
}
