// Draw, encode, decode, denoise: the autoencoder of chapter 16 and the denoiser of chapter 18.
"use strict";
{
  const [noise, seed] = [page.byId("noise"), page.byId("seed")];
  const sliders = Array.from({ length: 10 }, (_, i) => {
    const label = document.createElement("label"), slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: -9, max: 9, step: 0.1 });
    label.append(`${i + 1}`, slider);
    page.byId("code").append(label);
    return slider;
  });
  let clean, drawn, own, next = 0; // own: a code that the reader has set

  function show() {
    const { normal } = nets.generator(Number(seed.value));
    const noisy = clean.map((v) => Math.max(0, Math.min(1, v + noise.value * normal())));
    const code = own ?? nets.run("encode", noisy);
    sliders.forEach((slider, i) => (slider.value = code[i]));
    const pictures = { noisy, rebuilt: nets.run("decode", code), denoised: nets.run("denoise", noisy) };
    const errors = Object.entries(pictures).map(([name, picture]) => {
      page.image(page.byId(name), picture);
      return (picture.reduce((sum, v, i) => sum + (v - clean[i]) ** 2, 0) / clean.length).toFixed(3);
    });
    page.byId("errors").textContent = `Squared error per pixel, against your drawing: ${errors[0]} with noise, ${errors[1]} rebuilt, ${errors[2]} denoised.`;
    page.remember({ drawn, noise: noise.value, seed: seed.value, ...(own && { code: own }) });
  }

  const put = page.paper((image, text) => ([clean, drawn, own] = [image, text, null], show()));
  const sample = (i) => put(Float32Array.from(nets.bytes(samples).subarray(784 * i, 784 * (i + 1)), (v) => v / 255));
  for (const control of [noise, seed]) control.addEventListener("input", () => ((own = null), show()));
  sliders.forEach((slider) => slider.addEventListener("input", () => ((own = sliders.map(({ value }) => Number(value))), show())));
  page.byId("sample").addEventListener("click", () => sample((next = (next + 1) % 30)));

  function fromAddress() {
    const state = page.state({ noise: 0.5, seed: 0 });
    noise.value = state.noise;
    seed.value = state.seed;
    state.drawn === undefined ? sample(next) : put(state.drawn);
    if (!state.code) return;
    own = state.code.split(",").map(Number);
    show();
  }
  page.followed(fromAddress);
  fromAddress();
}
