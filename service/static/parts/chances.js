// Probabilities out of the logits of POST v1/classify, at any temperature: the service's own arithmetic, so that a
// slider need not ask it again. Knows no document.

export function softmax(logits) {
  const most = Math.max(...logits);
  const each = logits.map((logit) => Math.exp(logit - most));
  const all = each.reduce((sum, value) => sum + value, 0);
  return each.map((value) => value / all);
}

export const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

// log(1 + exp(x)) without overflow
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

// The temperature by which an answer's scores were made: the model's own, times a calibration's.
export const learnedTemperature = ({ logit_scale: scale, temperature }) => temperature / scale;

// What a chosen temperature makes of an answer's scores, in their order: probabilities, and -log p of each, in nats,
// by logarithms, so that a chance too small for a number still has its loss.
export function chancesAt(temperature, { scored_by: by, ...answer }, scores) {
  const logits = scores.map(({ logit }) => (logit * learnedTemperature(answer)) / (answer.temperature * temperature));
  if (by === "sigmoid") return { chances: logits.map(sigmoid), losses: logits.map((logit) => softplus(-logit)) };
  if (by === "rank") {
    const chances = scores.map(({ score }) => score);
    return { chances, losses: chances.map((chance) => -Math.log(chance)) };
  }
  const most = Math.max(...logits);
  const all = most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
  return { chances: softmax(logits), losses: logits.map((logit) => all - logit) };
}

// "63 %", "<0.1 %", "99.97 %": as many digits as tell it from nothing and from all.
export function percent(chance) {
  const value = 100 * chance;
  if (value > 0 && value < 0.1) return "<0.1 %";
  if (value > 99.9 && value < 99.995) return `${value.toFixed(2)} %`;
  return `${value.toFixed(value < 10 || value > 99 ? 1 : 0).replace(/\.0$/, "")} %`;
}
