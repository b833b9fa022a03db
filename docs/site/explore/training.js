// Released trainings, epoch by epoch: losses and images together.
"use strict";
{
  const curve = page.byId("curve"), context = curve.getContext("2d"), pictures = page.byId("pictures");
  const [which, slider, play] = [page.byId("training"), page.byId("epoch"), page.byId("play")];
  const COLUMNS = 5, SIZE = 56, PIXELS = 784, COLOURS = ["#555", "#1f4fd8"], LEFT = 36, RIGHT = 16;
  const decoded = Object.fromEntries(Object.entries(trainings).map(([name, { images, known }]) => [name, { images: nets.bytes(images), known: nets.bytes(known) }]));
  let playing;

  const epochs = () => Object.values(trainings[which.value].losses)[0].length;
  const grey = (bytes, i) => Float32Array.from(bytes.subarray(PIXELS * i, PIXELS * (i + 1)), (v) => v / 255);

  function drawCurve(epoch) {
    const losses = Object.values(trainings[which.value].losses), all = losses.flat(), low = Math.min(...all), high = Math.max(...all);
    const x = (i) => LEFT + (i / (epochs() - 1)) * (curve.width - LEFT - RIGHT), y = (v) => curve.height - 24 - ((v - low) / (high - low)) * (curve.height - 40);
    context.fillStyle = "white";
    context.fillRect(0, 0, curve.width, curve.height);
    context.font = "13px sans-serif";
    context.fillStyle = "black";
    for (const v of [low, high]) context.fillText(v.toPrecision(2), 2, y(v) + 4);
    for (const i of [0, epochs() - 1]) context.fillText(i + 1, x(i) - 6, curve.height - 6);
    context.lineWidth = 2;
    losses.forEach((loss, line) => {
      context.strokeStyle = COLOURS[line];
      context.beginPath();
      loss.forEach((v, i) => context.lineTo(x(i), y(v)));
      context.stroke();
    });
    context.fillStyle = "#ff7f0e";
    context.fillRect(x(epoch - 1) - 1, 8, 2, curve.height - 32);
  }

  function show() {
    const { losses } = trainings[which.value], { images, known } = decoded[which.value], epoch = Number(slider.value);
    const rows = Array.from({ length: known.length / PIXELS }, (_, i) => grey(known, i)), n = images.length / PIXELS / epochs();
    for (let i = 0; i < n; i++) rows.push(grey(images, (epoch - 1) * n + i));
    drawCurve(epoch);
    const columns = known.length ? n : COLUMNS;
    pictures.width = columns * SIZE;
    pictures.height = Math.ceil(rows.length / columns) * SIZE;
    rows.forEach((image, i) => page.image(pictures, image, (i % columns) * SIZE, Math.floor(i / columns) * SIZE, SIZE));
    const said = Object.entries(losses).map(([name, loss], line) => `${name} (${["grey", "blue"][line]}) ${loss[epoch - 1].toPrecision(3)}`);
    page.byId("progress").textContent = `After epoch ${epoch} of ${epochs()}. Losses: ${said.join(", ")}.`;
    play.textContent = playing ? "Pause" : "Play";
    if (!playing) page.remember({ training: which.value, epoch });
  }

  function stop() {
    clearInterval(playing);
    playing = 0;
  }
  function move(epoch) {
    slider.value = epoch;
    show();
  }
  play.addEventListener("click", () => {
    if (playing) return stop(), show();
    if (Number(slider.value) === epochs()) slider.value = 1;
    playing = setInterval(() => {
      if (Number(slider.value) + 1 >= epochs()) stop();
      move(Number(slider.value) + 1);
    }, 200);
    show();
  });
  function choose(name, epoch) {
    stop();
    which.value = name;
    slider.max = epochs();
    move(epoch);
  }
  const scrub = (epoch) => (stop(), move(epoch));
  page.pointer(curve, false, (x) => scrub(Math.round(1 + ((x * curve.width - LEFT) / (curve.width - LEFT - RIGHT)) * (epochs() - 1))));
  page.arrows(curve, (x, _, far) => scrub(Number(slider.value) + x * (far ? 5 : 1)));
  slider.addEventListener("input", () => scrub(slider.value));
  which.addEventListener("change", () => choose(which.value, 1));
  const fromAddress = () => (({ training, epoch }) => choose(training, epoch))(page.state({ training: "gan", epoch: 1 }));
  page.followed(fromAddress);
  fromAddress();
}
