// Where a run lies in the API, and what it noted as it trained. Knows no document.

export const LIST = "v1/training-runs";

export const place = (name, ...rest) => [LIST, encodeURIComponent(name), ...rest].join("/");

// What a run noted, as far as it was read: it is asked for what comes after.
export class Diary {
  constructor(api, name) {
    Object.assign(this, { api, name, next: 0 });
    this.forget();
  }

  forget() {
    this.steps = {};
    this.epochs = new Map();
  }

  async read(signal) {
    let told;
    let grew = false;
    do {
      told = await this.api.get(`${place(this.name, "diary")}?offset=${this.next}`, { signal });
      if (told.anew) this.forget();
      const had = this.steps.step?.length ?? 0;
      const more = told.steps.step?.length ?? 0;
      for (const [key, values] of Object.entries(told.steps)) (this.steps[key] ??= new Array(had).fill(null)).push(...values);
      for (const values of Object.values(this.steps)) while (values.length < had + more) values.push(null);
      for (const record of told.epochs) this.epochs.set(record.epoch, record);
      grew ||= more > 0 || told.epochs.length > 0;
      this.next = told.next;
    } while (told.more);
    return grew;
  }

  overSteps(key) {
    return (this.steps[key] ?? []).map((y, i) => [this.steps.step[i], y]).filter(([x, y]) => x !== null && y !== null);
  }

  overEpochs(key) {
    return [...this.epochs.values()].map((record) => [record.epoch, record[key]]).filter(([, y]) => typeof y === "number");
  }
}
