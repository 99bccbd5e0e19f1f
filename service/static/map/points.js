// Points by WebGL 1, as many as a collection has images: their places and colours go to the GPU once, and a frame is one
// call. Throws where there is no WebGL. Knows no document but its canvas.
//
// `view` is {x, y, scale, width, height}: what of the unit square is in the middle, how many pixels its side takes, and how
// many the canvas has.
//
// Where a processor draws in the GPU's place, 100,000 points take 70 ms: while they move, as many are drawn as there is
// time for, every fourth or so. How many those are is measured, since no browser tells.

const VERTEX = `
attribute vec2 place;
attribute float colour;
attribute float lit;
uniform vec2 middle;
uniform vec2 reach;
uniform float size;
uniform float dimmed;
uniform vec3 colours[16];
varying vec4 paint;
void main() {
  bool gone = place.x > 0.99999;
  vec2 at = (place * 65535.0 / 65534.0 - middle) * reach;
  float bright = dimmed > 0.5 ? lit : 1.0;
  gl_Position = gone ? vec4(2.0, 2.0, 0.0, 1.0) : vec4(at, 0.0, 1.0);
  gl_PointSize = size * (dimmed > 0.5 && lit > 0.0 ? 1.25 + 0.5 * lit : 1.0);
  paint = vec4(colours[int(colour + 0.5)], dimmed > 0.5 && lit == 0.0 ? 0.14 : 0.4 + 0.5 * bright);
}`;

const FRAGMENT = `
precision mediump float;
varying vec4 paint;
void main() {
  float apart = length(gl_PointCoord - 0.5);
  if (apart > 0.5) discard;
  gl_FragColor = vec4(paint.rgb, 1.0) * paint.a * smoothstep(0.5, 0.36, apart);
}`;

export const COLOURS = 16; // that there may be at once
const ANYWHERE = 20_000; // points that are quick to draw wherever it is done
const TIME = 16; // ms to draw in while they move
const FAR = 60; // points from one that is drawn to the next, at most: a step of 255 bytes is the widest

const COLUMNS = ["place", "colour", "lit"];

export class Points {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl", { antialias: false, premultipliedAlpha: true, preserveDrawingBuffer: false });
    if (!gl) throw new Error("There is no WebGL");
    this.gl = gl;
    this.count = 0;
    this.colours = new Float32Array(COLOURS * 3);
    this.dimmed = false;
    this.every = null; // so many-th point is drawn while they move; not known before the first is drawn
    this.step = 1; // as the columns are read now
    this.kept = {};
    this.#start();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#start();
      for (const [name, values] of Object.entries(this.kept)) this.#put(name, values);
      this.onRestored?.();
    });
  }

  // places: Uint16Array, x and y of each; the second and third columns are made plain.
  show(places) {
    this.count = places.length / 2;
    this.#put("place", places);
    this.colour(new Uint8Array(this.count));
    this.light(null);
    this.every = null;
  }

  // codes: Uint8Array, the number of each point's colour.
  colour(codes) {
    this.#put("colour", codes);
  }

  // lit: Uint8Array, 0 to 255, and what is 0 stands back; null: all are as they are.
  light(lit) {
    this.dimmed = lit !== null;
    this.#put("lit", lit ?? new Uint8Array(this.count));
  }

  // colours: [[r, g, b]] of 0 to 1, COLOURS at most.
  paint(colours) {
    colours.forEach((colour, i) => this.colours.set(colour, i * 3));
  }

  draw({ x, y, scale, ...view }, size, { moves = false } = {}) {
    const { gl, canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.count || !width) return;
    gl.uniform2f(this.at.middle, x, y);
    gl.uniform2f(this.at.reach, (2 * scale * ratio) / width, (-2 * scale * ratio) / height);
    gl.uniform1f(this.at.size, size * ratio);
    gl.uniform1f(this.at.dimmed, this.dimmed ? 1 : 0);
    gl.uniform3fv(this.at.colours, this.colours);
    if (this.every === null) {
      this.every = this.#affordable();
      gl.clear(gl.COLOR_BUFFER_BIT);
    }
    this.#points(moves ? this.every : 1);
  }

  // Every so many of them.
  #points(every) {
    const { gl } = this;
    if (every !== this.step) for (const name of COLUMNS) this.#read(name, every);
    this.step = every;
    gl.drawArrays(gl.POINTS, 0, Math.floor(this.count / every));
  }

  // 1: all can be drawn in time, else that of every so many one can. What has steps of four bytes is read as it lies.
  #affordable() {
    const { gl } = this;
    const most = 4 * Math.floor(FAR / 4);
    const some = Math.min(most, 4 * Math.ceil(this.count / ANYWHERE / 4));
    if (this.count <= ANYWHERE) return 1;
    const pixel = new Uint8Array(4);
    const timed = (every) => {
      const begun = performance.now();
      this.#points(every);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); // it is drawn, then, and not just asked for
      return performance.now() - begun;
    };
    timed(most); // the program is made ready
    const all = timed(some) * some;
    return all <= TIME ? 1 : Math.min(most, 4 * Math.ceil(all / TIME / 4));
  }

  #start() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    COLUMNS.forEach((name, i) => gl.bindAttribLocation(program, i, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("WebGL cannot draw points here");
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.at = Object.fromEntries(["middle", "reach", "size", "dimmed", "colours"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = { place: gl.createBuffer(), colour: gl.createBuffer(), lit: gl.createBuffer() };
  }

  #put(name, values) {
    const { gl } = this;
    this.kept[name] = values;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(COLUMNS.indexOf(name));
    this.#read(name, this.step);
  }

  #read(name, every) {
    const { gl } = this;
    const i = COLUMNS.indexOf(name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    if (name === "place") gl.vertexAttribPointer(i, 2, gl.UNSIGNED_SHORT, true, 4 * every, 0);
    else gl.vertexAttribPointer(i, 1, gl.UNSIGNED_BYTE, name === "lit", every, 0);
  }
}
