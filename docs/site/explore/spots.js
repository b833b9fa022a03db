// The GAN on two-dimensional spots of chapter 05, which trains in the page.
"use strict";
{
  const plot = page.byId("plot"), context = plot.getContext("2d"), curve = page.byId("curve").getContext("2d");
  const DEFAULTS = { spots: "8", rate: "0.001", seed: "0", steps: "0" }, REACH = 3, CELLS = 36, BATCH = 128;
  const controls = ["spots", "rate", "seed"].map(page.byId);
  let G, D, draw, watched, losses, running = false, goal = 0;

  const settings = () => Object.fromEntries(controls.map((control) => [control.id, control.value]));
  const points = (n) => Float32Array.from({ length: 2 * n }, draw.normal);
  function real(n) {
    const all = new Float32Array(2 * n);
    for (let k = 0; k < n; k++) {
      const angle = (2 * Math.PI * Math.floor(draw.uniform() * settings().spots)) / settings().spots;
      all.set([2 * Math.cos(angle) + 0.1 * draw.normal(), 2 * Math.sin(angle) + 0.1 * draw.normal()], 2 * k);
    }
    return all;
  }

  function restart() {
    draw = nets.generator(Number(settings().seed));
    [G, D] = [2, 1].map((ends) => new nets.Learner([2, 64, 64, ends], draw, Number(settings().rate)));
    watched = { noise: points(300), real: real(300) };
    losses = [];
    show();
  }

  function step() {
    losses.push(nets.playGan(G, D, real(BATCH), points(BATCH), points(BATCH)));
  }

  // How many spots have at least three of the 300 generated points within 0.3.
  function reached(fake) {
    let n = 0;
    for (let spot = 0; spot < settings().spots; spot++) {
      const angle = (2 * Math.PI * spot) / settings().spots, [x, y] = [2 * Math.cos(angle), 2 * Math.sin(angle)];
      let near = 0;
      for (let k = 0; k < fake.length; k += 2) near += Math.hypot(fake[k] - x, fake[k + 1] - y) < 0.3;
      n += near >= 3;
    }
    return n;
  }

  const at = (v) => ((v / REACH + 1) / 2) * plot.width;
  function dots(all, colour) {
    context.fillStyle = colour;
    for (let k = 0; k < all.length; k += 2) context.fillRect(at(all[k]) - 2, at(-all[k + 1]) - 2, 4, 4);
  }

  function show() {
    const cell = plot.width / CELLS, grid = new Float32Array(2 * CELLS * CELLS);
    for (let i = 0; i < CELLS * CELLS; i++)
      grid.set([(((i % CELLS) + 0.5) / CELLS) * 2 * REACH - REACH, REACH - ((Math.floor(i / CELLS) + 0.5) / CELLS) * 2 * REACH], 2 * i);
    D.forward(grid).forEach((logit, i) => {
      const shade = Math.round(70 + 185 * nets.sigmoid(logit));
      context.fillStyle = `rgb(${shade}, ${shade}, ${shade})`;
      context.fillRect((i % CELLS) * cell, Math.floor(i / CELLS) * cell, cell + 1, cell + 1);
    });
    const fake = G.forward(watched.noise);
    dots(watched.real, "#d62728");
    dots(fake, "#1f4fd8");
    curve.fillStyle = "white";
    curve.fillRect(0, 0, curve.canvas.width, curve.canvas.height);
    ["#555", "#1f4fd8"].forEach((colour, which) => {
      curve.strokeStyle = colour;
      curve.beginPath();
      losses.forEach((loss, i) => curve.lineTo((i / Math.max(1, losses.length - 1)) * curve.canvas.width, curve.canvas.height * (1 - Math.min(3, loss[which]) / 3)));
      curve.stroke();
    });
    const last = losses.length ? ` Losses: D ${losses.at(-1)[0].toFixed(2)}, G ${losses.at(-1)[1].toFixed(2)}.` : "";
    page.byId("progress").textContent = `After ${losses.length} steps the generator reaches ${reached(fake)} of ${settings().spots} spots.${last}`;
    page.byId("train").textContent = running ? "Pause" : "Train";
    if (!running) page.remember({ ...settings(), steps: losses.length });
  }

  // Steps for a fraction of a second, then a picture, until paused or at the goal.
  function train() {
    if (!running) return;
    const end = performance.now() + 40;
    while (performance.now() < end && losses.length < goal) step();
    if (losses.length >= goal) running = false;
    show();
    setTimeout(train);
  }
  function start(upTo) {
    running = !running;
    goal = upTo;
    show();
    train();
  }

  page.byId("train").addEventListener("click", () => start(losses.length + 5000));
  page.byId("one").addEventListener("click", () => (step(), show()));
  page.byId("restart").addEventListener("click", () => ((running = false), restart()));
  for (const control of controls) control.addEventListener("change", () => ((running = false), restart()));
  function fromAddress() {
    const state = page.state(DEFAULTS);
    for (const control of controls) control.value = state[control.id];
    running = false;
    restart();
    if (state.steps > 0) start(Math.min(20000, Number(state.steps))); // as the sender saw it
  }
  page.followed(fromAddress);
  fromAddress();
}
