
// The controls of the live page: a pad or a text box, and the requests to the model.
(() => {
  const { length, image, tokens, name } = view.embedded.live;
  const byId = (id) => document.getElementById(id);
  const [height, width] = image ?? [0, 0];
  const pad = byId("pad");
  const ink = new Uint8Array(length);
  let pen = [0, 0]; // row and column of the keyboard's pen
  let result = null; // the last run's sequence of bits
  let started = false; // whether a change of an option sends a request
  let asked = null; // the request without a response so far
  let again = false; // whether there is another one since

  byId("subtitle").textContent = name;
  byId("title").textContent = tokens ? "Write, and see the memory" : "Draw, and see the memory";
  document.title = "mf_keras: memory";

  const mode = () => document.querySelector("input[name=mode]:checked").value;
  const rows = () => Number(byId("rows").value);

  function explain() {
    const compare = mode() === "compare";
    const what = tokens ? "text" : "drawing";
    byId("go").textContent = compare ? "Compare" : "Complete";
    byId("rows-field").hidden = compare || !image;
    byId("explain").textContent = compare
      ? `The memory while the model reads your whole ${what} (teacher forcing), beside the memory ` +
        "while it reads samples of its own (free running)."
      : tokens
        ? `The model reads your text and continues it to ${length} tokens.`
        : "The model reads the upper rows of your drawing and draws the others.";
    byId("rows-shown").textContent = `${rows()} of ${height}`;
    byId("temperature-shown").textContent = Number(byId("temperature").value).toFixed(2);
    if (tokens) byId("count").textContent = `${encode().length} of ${length}`;
    else drawPad();
  }

  // The pad: what is below the given rows is hatched, since the model does not see it.
  function drawPad() {
    const scale = Math.max(1, Math.round((256 * devicePixelRatio) / Math.max(width, height)));
    pad.width = width * scale;
    pad.height = height * scale;
    const context = pad.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (variable) => style.getPropertyValue(variable);
    const given = mode() === "compare" ? height : rows();
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const on = ink[row * width + column];
        context.globalAlpha = on && row >= given ? 0.35 : 1;
        context.fillStyle = colour(on ? "--given" : row < given ? "--panel" : "--blank");
        context.fillRect(column * scale, row * scale, scale, scale);
      }
    }
    context.globalAlpha = 1;
    if (scale >= 6) {
      context.fillStyle = colour("--line");
      for (let row = 1; row < height; row++) context.fillRect(0, row * scale, pad.width, 1);
      for (let column = 1; column < width; column++) {
        context.fillRect(column * scale, 0, 1, pad.height);
      }
    }
    if (given < height) {
      context.strokeStyle = colour("--accent");
      context.lineWidth = 2 * devicePixelRatio;
      context.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
      context.beginPath();
      context.moveTo(0, given * scale);
      context.lineTo(pad.width, given * scale);
      context.stroke();
    }
    if (document.activeElement === pad && pad.matches(":focus-visible")) {
      context.setLineDash([]);
      context.strokeStyle = colour("--cursor");
      context.lineWidth = 2 * devicePixelRatio;
      context.strokeRect(pen[1] * scale + 1, pen[0] * scale + 1, scale - 2, scale - 2);
    }
    const inked = ink.reduce((sum, bit) => sum + bit, 0);
    pad.setAttribute("aria-label",
      `Drawing, ${height} rows of ${width} pixels, ${inked} of them ink, ${given} rows given`);
  }

  function pixelAt(event) {
    const box = pad.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * height);
    const column = Math.floor(((event.clientX - box.left) / box.width) * width);
    const inside = row >= 0 && row < height && column >= 0 && column < width;
    return inside ? [row, column] : null;
  }

  // Set the pixels between two, since a fast pointer leaves some out.
  function line(from, to, value) {
    const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
    for (let i = 0; i <= steps; i++) {
      const [row, column] = [0, 1].map((k) => Math.round(from[k] + (i / steps) * (to[k] - from[k])));
      ink[row * width + column] = value;
    }
  }

  if (image) {
    let stroke = null;
    byId("draw").hidden = false;
    byId("rows").max = height;
    byId("rows").value = Math.ceil(height / 2);
    pad.style.aspectRatio = `${width} / ${height}`;
    pad.addEventListener("pointerdown", (event) => {
      const at = pixelAt(event);
      if (!at || event.button !== 0) return;
      pad.setPointerCapture(event.pointerId);
      stroke = { at, value: 1 - ink[at[0] * width + at[1]] };
      pen = at;
      line(at, at, stroke.value);
      drawPad();
    });
    pad.addEventListener("pointermove", (event) => {
      const at = stroke && pixelAt(event);
      if (!at) return;
      line(stroke.at, at, stroke.value);
      stroke.at = pen = at;
      drawPad();
    });
    for (const end of ["pointerup", "pointercancel"]) {
      pad.addEventListener(end, () => (stroke = null));
    }
    pad.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const move = moves[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      if (move) {
        pen = [pen[0] + move[0], pen[1] + move[1]].map((at, k) =>
          Math.max(0, Math.min([height, width][k] - 1, at)));
      } else {
        ink[pen[0] * width + pen[1]] ^= 1;
      }
      const on = ink[pen[0] * width + pen[1]] ? "ink" : "blank";
      byId("pad-at").textContent = `row ${pen[0] + 1}, column ${pen[1] + 1}, ${on}`;
      drawPad();
    });
    for (const each of ["focus", "blur"]) pad.addEventListener(each, drawPad);
    byId("clear").addEventListener("click", () => (ink.fill(0), drawPad()));
    byId("copy").addEventListener("click", () => (result && ink.set(result), drawPad()));
    view.dark.addEventListener("change", drawPad);
  } else {
    byId("write").hidden = false;
    byId("words").value = "";
  }

  // The tokens of the text, the longest first where one begins like another; -1 for none.
  function encode() {
    const order = tokens.map((token, i) => [token, i]).sort((a, b) => b[0].length - a[0].length);
    const text = byId("words").value;
    const found = [];
    for (let at = 0; at < text.length; ) {
      const [token, i] = order.find(([each]) => each && text.startsWith(each, at)) ?? [text[at], -1];
      found.push(i);
      at += token.length;
    }
    return found;
  }

  function given() {
    if (!byId("seed").checkValidity()) {
      throw new Error(`The seed must be a whole number from 0 to ${byId("seed").max}.`);
    }
    if (tokens) {
      const found = encode();
      const unknown = found.indexOf(-1);
      if (unknown >= 0) throw new Error(`The model does not know token ${unknown + 1} of the text.`);
      return found;
    }
    return Array.from(mode() === "compare" ? ink : ink.subarray(0, rows() * width));
  }

  function request(steps) {
    return JSON.stringify({
      mode: mode(),
      steps,
      seed: byId("seed").valueAsNumber,
      temperature: Number(byId("temperature").value),
    });
  }

  async function ask(body, playing) {
    asked = body;
    byId("error").textContent = "";
    const late = setTimeout(() => {
      byId("busy").textContent = "The model computes; the first time takes some seconds.";
    }, 300);
    try {
      const headers = { "Content-Type": "application/json" };
      const response = await fetch("api/run", { method: "POST", headers, body });
      const found = await response.json();
      if (!response.ok) throw new Error(found.error);
      view.show(found, playing);
      const show = byId("show");  // on a phone it is below the controls
      if (playing && show.getBoundingClientRect().top > 0.6 * innerHeight) show.scrollIntoView();
      if (image) {
        const bytes = atob(found.runs.at(-1).sequence.bytes);
        result = Array.from(bytes, (byte) => (byte.charCodeAt(0) > 63 ? 1 : 0));
      }
    } catch (error) {
      byId("error").textContent = error instanceof TypeError
        ? "The program does not respond. Is it still running?" : error.message;
    } finally {
      clearTimeout(late);
      byId("busy").textContent = "";
      asked = null;
      if (again) submit();
    }
  }

  function submit() {
    started = true;
    try {
      const body = request(given());
      again = asked !== null && asked !== body;
      if (asked === null) ask(body, true);
    } catch (error) {
      again = false;
      byId("error").textContent = error.message;
    }
  }

  byId("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  byId("controls").addEventListener("input", explain);
  byId("controls").addEventListener("change", (event) => {
    if (started && event.target.tagName === "INPUT") submit();
  });
  byId("new-seed").addEventListener("click", () => {
    byId("seed").value = Math.floor(Math.random() * 1e6);
    submit();
  });
  explain();
  ask(request([]), false); // something to see at once: a sample
})();
