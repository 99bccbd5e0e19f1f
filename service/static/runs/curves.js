// The curves of one run: how it learned, and what became of the space.

import { Lines, smoothed } from "../parts/lines.js";

const GROUPS = { "text_to_image": "from text to image", "image_to_text": "from image to text", "view_to_view": "from view to view" };
const RECALLS = ["recall@1", "recall@5", "recall@10"];

// {learning, space, show(diary, run)}: two lists of charts, and what draws them.
export function curves() {
  const steps = (name) => new Lines({ title: name, across: "step" });
  const epochs = (name, more) => new Lines({ title: name, across: "epoch", ...more });
  const loss = steps("Loss");
  const recalls = Object.entries(GROUPS).map(([key, name]) => ({ key, chart: epochs(`Recall ${name}`, { fromZero: true }) }));
  const accuracy = epochs("Accuracy", { fromZero: true });
  const score = epochs("Score", { fromZero: true });
  const rate = steps("Learning rate");
  const scale = steps("Logit scale, 1 / temperature");
  const gradient = steps("Norm of the gradient");
  const speed = steps("Samples a second");
  const cosine = steps("Cosine in the batch");
  const shared = steps("Information shared, at least (nats)");
  const even = epochs("Alignment and uniformity");
  const rank = epochs("Effective rank");
  const learning = [loss, ...recalls.map(({ chart }) => chart), accuracy, score, rate, scale, gradient, speed];
  const space = [cosine, shared, even, rank];
  const raw = (diary, key) => {
    const points = diary.overSteps(key);
    return [{ name: "each step", points, faint: true }, { name: "smoothed", points: smoothed(points) }];
  };
  return {
    learning,
    space,
    show(diary, run) {
      const best = run.best_epoch === null ? null : { x: run.best_epoch, text: "best" };
      const over = (names) => Object.entries(names).map(([key, name]) => ({ name, points: diary.overEpochs(key) }));
      const along = (names) => Object.entries(names).map(([key, name]) => ({ name, points: diary.overSteps(key) }));
      loss.show(raw(diary, "loss"));
      for (const { key, chart } of recalls) chart.show(over(Object.fromEntries(RECALLS.map((name) => [`${key}/${name}`, name]))), best);
      accuracy.show(over({ top1: "top-1", top5: "top-5" }), best);
      score.show(over({ score: "score", probe: "probe" }), best);
      rate.show(along({ lr: "learning rate" }));
      scale.show(along({ logit_scale: "logit scale" }));
      gradient.show(raw(diary, "grad_norm"));
      speed.show(raw(diary, "samples_per_second"));
      cosine.show(along({ positive_similarity: "positives", hardest_negative_similarity: "hardest negatives" }));
      shared.show(raw(diary, "mutual_information"));
      even.show(over({ "health/alignment": "alignment", "health/uniformity_images": "uniformity of images", "health/uniformity_texts": "of texts" }));
      rank.show(over({ "health/effective_rank_images": "images", "health/effective_rank_texts": "texts" }));
    },
  };
}
