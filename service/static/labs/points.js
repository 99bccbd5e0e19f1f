// Points of two or three numbers, and what moves them. The forces come from the service; this is where they lead. Knows
// no document.

const length = (point) => Math.hypot(...point);

export const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

export const unit = (point) => {
  const long = length(point) || 1;
  return point.map((value) => value / long);
};

export const onCircle = (degrees) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];

export const degreesOf = ([x, y]) => (Math.round((Math.atan2(y, x) * 180) / Math.PI) + 360) % 360;

// A step of training: against the gradient, and back to length one. No point goes farther than `most` at once, so that
// a sharp temperature does not throw them about.
export function descend(points, gradients, rate, most = 0.15) {
  return points.map((point, i) => {
    const step = gradients[i].map((slope) => -rate * slope);
    const far = length(step);
    const share = far > most ? most / far : 1;
    return unit(point.map((value, j) => value + share * step[j]));
  });
}

// How long the arrow of a force is drawn: longer for a stronger one, and never across the figure.
export const reach = (force) => (0.7 * force) / (1 + force);

// The arrow of a force at a point: from, to. None where it is too weak to be seen.
export function arrow(point, gradient) {
  const force = length(gradient);
  const long = reach(force);
  if (long < 0.012) return null;
  return [point, point.map((value, i) => value - (gradient[i] / force) * long)];
}

// Numbers in [0, 1) that are the same each time: a figure that a teacher links to looks the same to all.
export function sequence(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

// Points drawn from the sphere of that many dimensions, evenly.
export function scattered(n, dimensions, seed) {
  const next = sequence(seed);
  const bell = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return Array.from({ length: n }, () => unit(Array.from({ length: dimensions }, bell)));
}

// For each point one that is `alike` it, 0 to 1: at 0 any point at all, at 1 the same.
export function partners(points, alike, seed) {
  const others = scattered(points.length, points[0].length, seed);
  return points.map((point, i) => unit(point.map((value, j) => alike * value + (1 - alike) * others[i][j])));
}

// A camera around the sphere: `yaw` about the upright axis, then `pitch` about the one across.
export function turned([x, y, z], { yaw, pitch }) {
  const [sine, cosine] = [Math.sin(yaw), Math.cos(yaw)];
  const [across, away] = [cosine * x + sine * z, cosine * z - sine * x];
  return [across, Math.cos(pitch) * y - Math.sin(pitch) * away, Math.sin(pitch) * y + Math.cos(pitch) * away];
}

export function turnedBack([x, y, z], { yaw, pitch }) {
  const [up, away] = [Math.cos(pitch) * y + Math.sin(pitch) * z, Math.cos(pitch) * z - Math.sin(pitch) * y];
  return [Math.cos(yaw) * x - Math.sin(yaw) * away, up, Math.sin(yaw) * x + Math.cos(yaw) * away];
}
