"use strict";

// The view of runs: memory, weights and sequence at step t, and playing through the steps.
// Everything is drawn from the JSON of `viewer.pack`; text is set as text, never as HTML.
const view = (() => {
  const byId = (id) => document.getElementById(id);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  // From 0 outwards. Blue and orange differ for the colour-blind; 0 is the ground's colour.
  const SCALES = {
    light: {
      negative: ["#f5f3ef", "#a9cbe3", "#4a8fc3", "#174f86", "#08264a"],
      positive: ["#f5f3ef", "#f6c19a", "#e07f45", "#a8441a", "#591d06"],
      weight: ["#f5f3ef", "#c9bfe0", "#9277bd", "#5b3a92", "#2c1253"],
    },
    dark: {
      negative: ["#22272c", "#1f4f7d", "#3b86c4", "#86bdea", "#d6ecff"],
      positive: ["#22272c", "#7a3617", "#cc6a31", "#f3ab78", "#ffe6d3"],
      weight: ["#22272c", "#4b3a78", "#8367c0", "#b9a2ea", "#ece3ff"],
    },
  };
  const PLAY = "M4 2.5v11L13 8z";
  const PAUSE = "M3.5 3h3.2v10H3.5zM9.3 3h3.2v10H9.3z";

  let data = null; // what is shown
  let shown = []; // the view of each run
  let step = 1; // t, counted from 1
  let last = 1; // T of the longest run
  let timer = null;
  let colours = null;
  let signedWeights = false;
  let weightLimit = 1;

  function parts(hex) {
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }

  // A list of [r, g, b] for 0..count-1 along the stops.
  function ramp(stops, count) {
    const rgb = stops.map(parts);
    return Array.from({ length: count }, (_, i) => {
      const place = (i / (count - 1)) * (rgb.length - 1);
      const low = Math.min(Math.floor(place), rgb.length - 2);
      return rgb[low].map((c, k) => Math.round(c + (place - low) * (rgb[low + 1][k] - c)));
    });
  }

  function makeColours() {
    const scale = dark.matches ? SCALES.dark : SCALES.light;
    const negative = ramp(scale.negative, 128);
    const positive = ramp(scale.positive, 128);
    const style = getComputedStyle(document.documentElement);
    const named = (name) => parts(style.getPropertyValue(name).trim());
    return {
      // From -127 to 127, and from 0 to 127.
      signed: [...negative.slice(1).reverse(), ...positive],
      weight: ramp(scale.weight, 128),
      given: named("--given"),
      drawn: named("--drawn"),
      blank: named("--blank"),
    };
  }

  function unpack(packed) {
    if (!packed) return null;
    const text = atob(packed.bytes);
    const bytes = new DataView(new ArrayBuffer(text.length));
    for (let i = 0; i < text.length; i++) bytes.setUint8(i, text.charCodeAt(i));
    const wide = packed.bits === 16;
    const values = wide
      ? Int16Array.from({ length: text.length / 2 }, (_, i) => bytes.getInt16(2 * i, true))
      : new Int8Array(bytes.buffer);
    return { ...packed, values, unit: packed.largest / (wide ? 32767 : 127) };
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Fill a canvas of rows x columns; colour(row, column) is [r, g, b].
  function paint(canvas, rows, columns, colour) {
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at += 4) {
        const [r, g, b] = colour(row, column);
        image.data[at] = r;
        image.data[at + 1] = g;
        image.data[at + 2] = b;
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  // The colour of a number of `array`, where `limit` has the strongest.
  function signedColour(array, limit) {
    const factor = (127 * array.unit) / limit;
    return (x) => colours.signed[Math.max(0, Math.min(254, 127 + Math.round(x * factor)))];
  }

  // Weights are often small: the colour goes with their square root, unless they have signs.
  function weightColour(weights) {
    if (signedWeights) return signedColour(weights, weightLimit);
    const factor = weights.unit / weightLimit;
    return (x) => colours.weight[Math.round(127 * Math.sqrt(Math.max(0, x * factor)))];
  }

  function number(value, digits = 2) {
    return value.toFixed(digits).replace("-", "\u2212");
  }

  class RunView {
    constructor(packed, index) {
      this.run = packed;
      this.memory = unpack(packed.memory);
      this.heads = [["write", unpack(packed.write)], ["read", unpack(packed.read)]];
      this.heads = this.heads.filter(([, weights]) => weights);
      this.sequence = unpack(packed.sequence);
      [this.frames, this.slots, this.words] = this.memory.shape;
      this.root = element("section", { class: "run", "aria-labelledby": `run-${index}` });
      this.root.append(element("h2", { id: `run-${index}` }, packed.label));
      this.root.append(element("p", { class: "facts" }, this.facts()));
      this.stage = element("div", { class: "stage" });
      this.root.append(this.stage);
      this.makePicture();
      this.makeMatrix();
      this.now = element("p", { class: "now", "aria-live": "polite" });
      this.root.append(this.now);
      this.cursors = [];
      this.makeTimelines();
    }

    facts() {
      const { steps, given, nll } = this.run;
      const words = [];
      if (given === steps) words.push(`all ${steps} steps given`);
      else if (given === 0) words.push(`all ${steps} steps by the model`);
      else words.push(`${given} steps given, ${steps - given} by the model`);
      if (nll !== null) words.push(`NLL ${number(nll, 1)} nats`);
      return words.join(" \u00b7 ");
    }

    makePicture() {
      if (data.image) {
        this.picture = element("canvas", { role: "img" });
        this.pixel = element("div", { class: "pixel" });
        const [height, width] = data.image;
        this.pixel.style.width = `${100 / width}%`;
        this.pixel.style.height = `${100 / height}%`;
        const frame = element("div", { class: "frame" }, this.picture, this.pixel);
        frame.style.aspectRatio = `${width} / ${height}`;
        this.picture.style.height = "100%";
        this.stage.append(element("figure", { class: "picture" }, frame));
      } else if (this.run.text) {
        this.text = element("div", { class: "frame text" });
        this.given = element("span");
        this.drawn = element("span", { class: "drawn" });
        this.next = element("span", { class: "next" });
        this.text.append(this.given, this.drawn, this.next);
        this.stage.append(this.text);
      } else {
        this.stage.classList.add("bare");
      }
    }

    makeMatrix() {
      const box = element("div", { class: "matrix" });
      this.strips = [];
      const strip = (name, weights) => {
        const canvas = element("canvas", { role: "img" });
        canvas.style.width = `${Math.max(14, Math.min(48, (data.runs.length > 1 ? 9 : 13) * weights.shape[1]))}px`;
        const frame = element("div", { class: "frame heads" }, canvas);
        box.append(element("figure", {}, frame, element("figcaption", {}, name)));
        this.strips.push({ name, weights, canvas });
      };
      const [write, read] = ["write", "read"].map((n) => this.heads.find(([name]) => name === n));
      if (write) strip(...write);
      else box.append(element("div"));
      this.matrix = element("canvas", { role: "img" });
      const caption = `${this.slots} slots \u00d7 ${this.words}`;
      this.caption = element("figcaption", {}, caption);
      const frame = element("div", { class: "frame" }, this.matrix);
      box.append(element("figure", {}, frame, this.caption));
      if (read) strip(...read);
      this.matrix.addEventListener("pointermove", (event) => this.point(event));
      this.matrix.addEventListener("pointerleave", () => (this.caption.textContent = caption));
      this.stage.append(box);
    }

    // The number under the pointer.
    point(event) {
      const box = this.matrix.getBoundingClientRect();
      const within = (x, size) => Math.max(0, Math.min(size - 1, Math.floor(x * size)));
      const slot = within((event.clientY - box.top) / box.height, this.slots);
      const word = within((event.clientX - box.left) / box.width, this.words);
      const x = this.memory.values[(this.frame() * this.slots + slot) * this.words + word];
      this.caption.textContent =
        `slot ${slot + 1}, column ${word + 1}: ${number(x * this.memory.unit)}`;
    }

    makeTimelines() {
      this.timelines = this.heads.map(([name, weights]) => {
        const count = weights.shape[1];
        const heads = count === 1 ? "" : `, ${count} heads`;
        const canvas = this.timeline(`${name} weights over time${heads}`, count);
        canvas.style.setProperty("--height", `${Math.min(150, 20 + 28 * count)}px`);
        return { name, weights, canvas };
      });
      if (this.sequence && !data.image) {
        this.rows = this.timeline("sequence: numbers of a step over time");
        const height = Math.max(12, Math.min(110, 10 * this.sequence.shape[1]));
        this.rows.style.setProperty("--height", `${height}px`);
      }
    }

    timeline(caption, heads = 1) {
      const canvas = element("canvas", { role: "img", "aria-label": caption });
      const cursor = element("div", { class: "cursor" });
      const rest = element("div", { class: "rest" });
      const frame = element("div", { class: "frame" }, canvas, rest, cursor);
      for (let head = 1; head < heads; head++) {
        const rule = element("div", { class: "rule" });
        rule.style.top = `${(100 * head) / heads}%`;
        frame.append(rule);
      }
      const { given, steps } = this.run;
      if (given > 0 && given < steps) {
        const border = element("div", { class: "border" });
        border.style.left = `${(100 * given) / steps}%`;
        frame.append(border);
      }
      const seek = (event) => {
        const box = frame.getBoundingClientRect();
        pause();
        go(1 + Math.floor(((event.clientX - box.left) / box.width) * steps));
      };
      frame.addEventListener("pointerdown", (event) => {
        frame.setPointerCapture(event.pointerId);
        seek(event);
      });
      frame.addEventListener("pointermove", (event) => event.buttons && seek(event));
      this.root.append(
        element("figure", { class: "timeline" }, frame, element("figcaption", {}, caption)),
      );
      this.cursors.push({ cursor, rest });
      return canvas;
    }

    frame() {
      const at = Math.floor(Math.min(step, this.run.steps) / this.run.every) - 1;
      return Math.max(0, Math.min(this.frames - 1, at));
    }

    // What does not change from step to step.
    drawOnce() {
      for (const { weights, canvas } of this.timelines) this.drawTimeline(weights, canvas);
      if (this.rows) {
        const [steps, size] = this.sequence.shape;
        const colour = signedColour(this.sequence, this.sequence.largest);
        paint(this.rows, size, steps, (row, t) => colour(this.sequence.values[t * size + row]));
      }
    }

    // Slots over time, head below head. Where there are more than pixels, one stands for the
    // largest weight of several slots and steps, since a sharp head would be lost between them.
    drawTimeline(weights, canvas) {
      const [frames, heads, slots] = weights.shape;
      const colour = weightColour(weights);
      const [high, wide] = [Math.ceil(slots / 40), Math.ceil(frames / 600)];
      const rows = Math.ceil(slots / high);
      paint(canvas, heads * rows, Math.ceil(frames / wide), (row, column) => {
        const head = Math.floor(row / rows);
        const slot = (row % rows) * high;
        let most = -Infinity;
        for (let t = column * wide; t < Math.min(frames, (column + 1) * wide); t++) {
          for (let n = slot; n < Math.min(slots, slot + high); n++) {
            most = Math.max(most, weights.values[(t * heads + head) * slots + n]);
          }
        }
        return colour(most);
      });
    }

    draw() {
      const t = Math.min(step, this.run.steps);
      const size = this.slots * this.words;
      const start = this.frame() * size;
      const memory = signedColour(this.memory, data.limit);
      paint(this.matrix, this.slots, this.words, (slot, word) =>
        memory(this.memory.values[start + slot * this.words + word]));
      for (const { name, weights, canvas } of this.strips) {
        const heads = weights.shape[1];
        const colour = weightColour(weights);
        const from = this.frame() * heads * this.slots;
        paint(canvas, this.slots, heads, (slot, head) =>
          colour(weights.values[from + head * this.slots + slot]));
        canvas.setAttribute("aria-label", `${name} weights at step ${t}: ${this.most(weights)}`);
      }
      for (const { cursor, rest } of this.cursors) {
        const place = (100 * t) / this.run.steps;
        cursor.style.left = `${place}%`;
        rest.style.left = `${place}%`;
      }
      const what = this.drawStep(t);
      const heads = this.heads.map(([name, weights]) => `${name}s ${this.most(weights)}`);
      this.now.textContent = [what, ...heads].join(" \u00b7 ");
      this.matrix.setAttribute(
        "aria-label",
        `memory after step ${t}, ${this.slots} slots of ${this.words} numbers`,
      );
    }

    // The slot of the largest weight of every head.
    most(weights) {
      const [, heads, slots] = weights.shape;
      const from = this.frame() * heads * slots;
      const found = Array.from({ length: heads }, (_, head) => {
        const own = weights.values.subarray(from + head * slots, from + (head + 1) * slots);
        const best = own.reduce((found, value, slot) => (value > own[found] ? slot : found), 0);
        return `${best + 1}\u00a0(${number(own[best] * weights.unit)})`;
      });
      return `${heads === 1 ? "slot" : "slots"} ${found.join(", ")}`;
    }

    // Draw the sequence up to step t, and say what the step is.
    drawStep(t) {
      const given = t <= this.run.given;
      const whose = given ? "given" : "by the model";
      if (data.image) {
        const [height, width] = data.image;
        paint(this.picture, height, width, (row, column) => {
          const at = row * width + column;
          const ink = at < t && this.sequence.values[at] > 63;
          if (!ink) return at < t ? colours.signed[127] : colours.blank;
          return at < this.run.given ? colours.given : colours.drawn;
        });
        const row = Math.floor((t - 1) / width);
        const column = (t - 1) % width;
        this.pixel.style.left = `${(100 * column) / width}%`;
        this.pixel.style.top = `${(100 * row) / height}%`;
        const ink = this.sequence.values[t - 1] > 63 ? "ink" : "blank";
        const place = `row ${row + 1}, column ${column + 1}`;
        this.picture.setAttribute("aria-label", `image up to step ${t}; ${place} is ${ink}`);
        return `pixel ${place}: ${ink}, ${whose}`;
      }
      if (this.run.text) {
        const name = (token) => (data.tokens ? data.tokens[token] : `${token} `);
        const text = this.run.text.slice(0, t - 1).map(name);
        this.given.textContent = text.slice(0, this.run.given).join("");
        this.drawn.textContent = text.slice(this.run.given).join("");
        this.next.textContent = name(this.run.text[t - 1]);
        this.next.classList.toggle("drawn", !given);
        this.next.scrollIntoView?.({ block: "nearest", inline: "nearest" });
        return `token ${JSON.stringify(name(this.run.text[t - 1]))}, ${whose}`;
      }
      return `step ${t}, ${whose}`;
    }
  }

  function drawLegend() {
    const words = `${number(data.limit)}`;
    paint(byId("signed-scale"), 1, 255, (_, i) => colours.signed[i]);
    byId("signed-scale").setAttribute(
      "aria-label", `colours of the memory, from ${number(-data.limit)} to ${words}`);
    byId("low").textContent = `\u2264\u2009${number(-data.limit)}`;
    byId("high").textContent = `\u2265\u2009${words}`;
    const weights = shown.flatMap((run) => run.heads.map(([, each]) => each));
    signedWeights = weights.some((each) => each.signed);
    weightLimit = Math.max(1, ...weights.map((each) => each.largest));
    const [low, middle] = signedWeights ? [-weightLimit, 0] : [0, weightLimit / 4];
    const ramp = signedWeights ? colours.signed : colours.weight;
    const short = (value) => number(value).replace(/\.?0+$/, "");
    paint(byId("weight-scale"), 1, ramp.length, (_, i) => ramp[i]);
    byId("weight-scale").setAttribute(
      "aria-label", `colours of the weights of a head, from ${short(low)} to ${short(weightLimit)}`);
    byId("weight-low").textContent = short(low);
    byId("weight-middle").textContent = short(middle);
    byId("weight-high").textContent = short(weightLimit);
    byId("weight-scale").closest("figure").hidden = !weights.length;
  }

  function redraw() {
    if (!data) return;
    colours = makeColours();
    drawLegend();
    for (const run of shown) run.drawOnce();
    draw();
  }

  function draw() {
    for (const run of shown) run.draw();
    byId("scrub").value = step;
    byId("scrub").setAttribute("aria-valuetext", `step ${step} of ${last}`);
    byId("clock").textContent = `t = ${step} of ${last}`;
  }

  function go(to) {
    step = Math.max(1, Math.min(last, to));
    if (data) draw();
  }

  function setPlaying(playing) {
    byId("play-word").textContent = playing ? "Pause" : "Play";
    byId("play-icon").setAttribute("d", playing ? PAUSE : PLAY);
    // A screen reader does not read every step of what plays.
    for (const run of shown) run.now.setAttribute("aria-live", playing ? "off" : "polite");
  }

  function play() {
    if (!data || timer !== null) return;
    if (step >= last) go(1);
    setPlaying(true);
    let before = performance.now();
    const tick = (time) => {
      const wait = 1000 / Number(byId("speed").value);
      const steps = Math.floor((time - before) / wait);
      if (steps > 0) {
        before += steps * wait;
        go(step + steps);
      }
      if (step >= last) pause();
      else timer = requestAnimationFrame(tick);
    };
    timer = requestAnimationFrame(tick);
  }

  function pause() {
    if (timer !== null) cancelAnimationFrame(timer);
    timer = null;
    setPlaying(false);
  }

  // Show other runs; with `playing` from the first step on, unless less motion is wished.
  function show(found, playing = false) {
    pause();
    data = found;
    shown = data.runs.map((run, i) => new RunView(run, i));
    const runs = byId("runs");
    runs.replaceChildren(...shown.map((run) => run.root));
    runs.classList.toggle("alone", shown.length === 1);
    last = Math.max(...data.runs.map((run) => run.steps));
    byId("scrub").max = last;
    if (data.title) {
      byId("title").textContent = data.title;
      document.title = data.title;
    }
    step = playing && !calm.matches ? 1 : last;
    redraw();
    if (playing && !calm.matches) play();
  }

  byId("play").addEventListener("click", () => (timer === null ? play() : pause()));
  const stepwise = { first: () => 1, back: () => step - 1, forward: () => step + 1 };
  for (const [id, to] of Object.entries(stepwise)) {
    byId(id).addEventListener("click", () => (pause(), go(to())));
  }
  byId("scrub").addEventListener("input", (event) => (pause(), go(Number(event.target.value))));
  const keys = {
    " ": () => (timer === null ? play() : pause()),
    ArrowLeft: () => (pause(), go(step - 1)),
    ArrowRight: () => (pause(), go(step + 1)),
    Home: () => (pause(), go(1)),
    End: () => (pause(), go(last)),
  };
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("input, textarea, select, button, [data-keys]");
    // The slider has arrows of its own, but no use of the space bar; buttons have the space bar.
    const taken = own && !(own.id === "scrub" && event.key === " ") &&
      !(own.tagName === "BUTTON" && event.key !== " ");
    if (taken || event.ctrlKey || event.altKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  dark.addEventListener("change", redraw);

  const embedded = JSON.parse(byId("data").textContent);
  return { embedded, show, redraw, pause, colours: () => colours ?? makeColours(), dark };
})();

if (view.embedded.runs) view.show(view.embedded);
