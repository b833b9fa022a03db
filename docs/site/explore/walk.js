// Between the latent vectors of two digits, with the generator of chapter 12.
"use strict";
{
  const strip = page.byId("strip"), context = strip.getContext("2d"), way = page.byId("way"), STOPS = 11, SIZE = strip.width / STOPS;
  const controls = ["from", "to", "pull", "path"].map(page.byId), kept = new OffscreenCanvas(strip.width, SIZE);
  const said = (p) => p.indexOf(Math.max(...p));
  const means = nets.rows(alphabet.means, 100), letters = nets.rows(alphabet.letters, 100), each = letters.length / 10;
  let ends;

  // The point a share of the way: on the straight line, or on the arc along which the length is kept.
  function between(share) {
    const [a, b] = ends, dot = a.reduce((sum, v, i) => sum + v * b[i], 0), angle = Math.acos(Math.min(1, dot / Math.hypot(...a) / Math.hypot(...b)));
    const [left, right] = controls[3].value === "arc" && angle > 1e-3 ? [1 - share, share].map((part) => Math.sin(part * angle) / Math.sin(angle)) : [1 - share, share];
    return a.map((v, i) => left * v + right * b[i]);
  }

  function prepare() {
    ends = controls.slice(0, 2).map(({ value: digit }, i) => nets.pull(letters[digit * each + i], means[digit], Number(controls[2].value)));
    const readings = Array.from({ length: STOPS }, (_, i) => {
      const image = nets.run("generator", between(i / (STOPS - 1)));
      page.image(kept, image, i * SIZE, 0, SIZE);
      return said(nets.run("cnn", image));
    });
    page.byId("readings").textContent = `On the way the CNN reads ${readings.join(" ")}.`;
    show();
  }

  function show() {
    const share = Number(way.value), z = between(share), image = nets.run("generator", z), p = nets.run("cnn", image);
    context.drawImage(kept, 0, 0);
    context.strokeStyle = "#ff7f0e";
    context.lineWidth = 4;
    context.strokeRect(share * (STOPS - 1) * SIZE + 2, 2, SIZE - 4, SIZE - 4);
    page.image(page.byId("made"), image);
    page.byId("where").textContent = `${Math.round(100 * share)} % of the way from ${controls[0].value} to ${controls[1].value}, length ${Math.hypot(...z).toFixed(1)}: the CNN reads ${said(p)} (${Math.round(100 * Math.max(...p))} %).`;
    page.remember({ ...Object.fromEntries(controls.map(({ id, value }) => [id, value])), way: way.value });
  }

  const move = (share) => ((way.value = share), show());
  page.pointer(strip, false, (x) => move((x * STOPS - 0.5) / (STOPS - 1)));
  page.arrows(strip, (x, _, far) => move(Number(way.value) + x * (far ? 0.1 : 0.02)));
  way.addEventListener("input", show);
  for (const control of controls) control.addEventListener("change", prepare);
  function fromAddress() {
    const state = page.state({ from: 3, to: 8, pull: 1, path: "arc", way: 0.5 });
    for (const control of [...controls, way]) control.value = state[control.id];
    prepare();
  }
  page.followed(fromAddress);
  fromAddress();
}
