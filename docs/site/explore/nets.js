// What the explorers compute with: the layers of the released networks, and a small network that learns.
// Weights arrive as 16-bit integers; everything is then a Float32Array, row after row.
"use strict";
{
  const networks = {};

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // What Python wrote: base64 of 16-bit integers, and what a step of them stands for in each row.
  function floats({ steps, values }) {
    const integers = new Int16Array(bytes(values).buffer), row = integers.length / steps.length;
    return Float32Array.from(integers, (v, i) => v * steps[Math.floor(i / row)]);
  }

  // The same as rows of a width.
  function rows(written, width) {
    const all = floats(written);
    return Array.from({ length: all.length / width }, (_, i) => all.subarray(i * width, (i + 1) * width));
  }

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  // One layer each: (input, …what Python wrote beside its name) → output. W is (outputs, inputs), as in torch.
  const layers = {
    dense(x, W, b) {
      return b.map((sum, o) => {
        for (let i = 0, at = o * x.length; i < x.length; i++) sum += W[at + i] * x[i];
        return sum;
      });
    },
    // x is (channels, side, side), W (outputs, channels, kernel, kernel).
    convolution(x, W, b, kernel, stride, pad) {
      const channels = W.length / b.length / kernel ** 2, side = Math.sqrt(x.length / channels);
      const size = Math.floor((side + 2 * pad - kernel) / stride) + 1, out = new Float32Array(b.length * size * size);
      for (let o = 0, at = 0; o < b.length; o++)
        for (let row = -pad; row < size * stride - pad; row += stride)
          for (let column = -pad; column < size * stride - pad; column += stride, at++) {
            let sum = b[o];
            for (let c = 0; c < channels; c++)
              for (let i = Math.max(0, -row); i < Math.min(kernel, side - row); i++)
                for (let j = Math.max(0, -column); j < Math.min(kernel, side - column); j++)
                  sum += W[((o * channels + c) * kernel + i) * kernel + j] * x[(c * side + row + i) * side + column + j];
            out[at] = sum;
          }
      return out;
    },
    // Every input spreads over a square of outputs; W is (channels, outputs, kernel, kernel).
    transposed(x, W, b, kernel, stride, pad, extra) {
      const channels = W.length / b.length / kernel ** 2, side = Math.sqrt(x.length / channels);
      const size = (side - 1) * stride - 2 * pad + kernel + extra, out = new Float32Array(b.length * size * size);
      b.forEach((v, o) => out.fill(v, o * size * size, (o + 1) * size * size));
      for (let c = 0, at = 0; c < channels; c++)
        for (let row = -pad; row < side * stride - pad; row += stride)
          for (let column = -pad; column < side * stride - pad; column += stride, at++) {
            if (!x[at]) continue; // most are 0 after ReLU
            const top = Math.max(0, -row), bottom = Math.min(kernel, size - row), left = Math.max(0, -column), right = Math.min(kernel, size - column);
            for (let o = 0; o < b.length; o++)
              for (let i = top; i < bottom; i++)
                for (let j = left, to = (o * size + row + i) * size + column, w = ((c * b.length + o) * kernel + i) * kernel; j < right; j++)
                  out[to + j] += x[at] * W[w + j];
          }
      return out;
    },
    // The largest of each 2 × 2 pixels.
    pool(x, channels) {
      const side = Math.sqrt(x.length / channels), half = side / 2;
      return new Float32Array(x.length / 4).map((_, at) => {
        const corner = Math.floor(at / half) * 2 * side + (at % half) * 2;
        return Math.max(x[corner], x[corner + 1], x[corner + side], x[corner + side + 1]);
      });
    },
    scale: (x, factor, shift) => x.map((v) => factor * v + shift),
    relu: (x) => x.map((v) => Math.max(0, v)),
    tanh: (x) => x.map(Math.tanh),
    sigmoid: (x) => x.map(sigmoid),
    softmax(x) {
      const largest = Math.max(...x), powers = x.map((v) => Math.exp(v - largest));
      const sum = powers.reduce((a, b) => a + b);
      return powers.map((v) => v / sum);
    },
  };

  // Called by the files that Python writes: load("cnn", [["convolution", "W…", "b…", 5], ["relu"], …]).
  function load(name, written) {
    networks[name] = written.map(([layer, ...rest]) => [layer, rest.map((v) => (v.steps ? floats(v) : v))]);
  }

  function run(name, input) {
    return networks[name].reduce((x, [layer, rest]) => layers[layer](x, ...rest), Float32Array.from(input));
  }

  // A latent vector pulled towards the direction of a mean, at the length that it has.
  function pull(z, mean, share) {
    const length = Math.hypot(...z), factor = (share * length) / Math.hypot(...mean);
    const mixed = z.map((v, i) => (1 - share) * v + factor * mean[i]), now = Math.hypot(...mixed);
    return mixed.map((v) => (v * length) / now);
  }

  // Uniform numbers in [0, 1) from a seed (mulberry32), and normal ones from them.
  function generator(seed) {
    const uniform = () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, normal };
  }

  // Dense layers with leaky ReLU between them, trained by Adam. Batches are (n, inputs), row after row.
  class Learner {
    constructor(sizes, { uniform }, rate) {
      Object.assign(this, { sizes, rate, steps: 0 });
      this.layers = sizes.slice(1).map((outputs, l) => {
        const bound = sizes[l] ** -0.5, some = (n) => new Float32Array(n).map(() => bound * (2 * uniform() - 1));
        const values = [some(outputs * sizes[l]), some(outputs)]; // W and b
        return { values, slopes: values.map((v) => v.map(() => 0)), first: values.map((v) => v.map(() => 0)), second: values.map((v) => v.map(() => 0)) };
      });
    }

    forward(x) {
      const n = x.length / this.sizes[0];
      this.inputs = [];
      this.layers.forEach(({ values: [W, b] }, l) => {
        this.inputs.push(x);
        const [inputs, outputs] = [this.sizes[l], this.sizes[l + 1]], y = new Float32Array(n * outputs);
        for (let k = 0; k < n; k++)
          for (let o = 0; o < outputs; o++) {
            let sum = b[o];
            for (let i = 0; i < inputs; i++) sum += W[o * inputs + i] * x[k * inputs + i];
            y[k * outputs + o] = sum > 0 || l === this.layers.length - 1 ? sum : 0.2 * sum;
          }
        x = y;
      });
      return x;
    }

    // From the slope of the loss at the outputs of the last forward: adds to all slopes, returns that at the inputs.
    backward(dy) {
      for (let l = this.layers.length - 1; l >= 0; l--) {
        const { values: [W], slopes: [dW, db] } = this.layers[l], x = this.inputs[l];
        const [inputs, outputs] = [this.sizes[l], this.sizes[l + 1]], n = dy.length / outputs, dx = new Float32Array(x.length);
        for (let k = 0; k < n; k++)
          for (let o = 0; o < outputs; o++) {
            const slope = dy[k * outputs + o];
            db[o] += slope;
            for (let i = 0; i < inputs; i++) {
              dW[o * inputs + i] += slope * x[k * inputs + i];
              dx[k * inputs + i] += slope * W[o * inputs + i];
            }
          }
        dy = l ? dx.map((v, i) => (x[i] > 0 ? v : 0.2 * v)) : dx;
      }
      return dy;
    }

    forget() {
      for (const { slopes } of this.layers) for (const slope of slopes) slope.fill(0);
    }

    // One step of Adam with the slopes, which are then forgotten.
    step() {
      const [b1, b2] = [0.5, 0.999], t = ++this.steps;
      for (const { values, slopes, first, second } of this.layers)
        values.forEach((value, which) => {
          const [slope, m, v] = [slopes[which], first[which], second[which]];
          for (let i = 0; i < value.length; i++) {
            m[i] = b1 * m[i] + (1 - b1) * slope[i];
            v[i] = b2 * v[i] + (1 - b2) * slope[i] ** 2;
            value[i] -= (this.rate * m[i]) / (1 - b1 ** t) / (Math.sqrt(v[i] / (1 - b2 ** t)) + 1e-8);
          }
        });
      this.forget();
    }
  }

  // Mean cross-entropy of logits with one target for all, and its slope at each logit.
  function bce(logits, target) {
    const loss = logits.reduce((sum, v) => sum + Math.max(v, 0) - v * target + Math.log1p(Math.exp(-Math.abs(v))), 0);
    return [loss / logits.length, logits.map((v) => (sigmoid(v) - target) / logits.length)];
  }

  // One step of D on real and generated points, then one of G against it; the losses.
  function playGan(G, D, real, noise, noiseAgain) {
    const fake = G.forward(noise);
    const [onReal, slopeReal] = bce(D.forward(real), 1); // real up
    D.backward(slopeReal.map((v) => v / 2));
    const [onFake, slopeFake] = bce(D.forward(fake), 0); // fake down
    D.backward(slopeFake.map((v) => v / 2));
    D.step();
    const [fooled, slope] = bce(D.forward(G.forward(noiseAgain)), 1); // G: be called real
    G.backward(D.backward(slope));
    G.step();
    D.forget(); // its slopes from G's turn
    return [(onReal + onFake) / 2, fooled];
  }

  globalThis.nets = { layers, load, run, bytes, floats, rows, sigmoid, pull, generator, Learner, playGan };
}
