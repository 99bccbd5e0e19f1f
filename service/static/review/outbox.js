// What was said and is not kept yet: it goes to the service while one looks at the next picture, all that waits at once.
//
// post(items): a promise of the answer; onKept(answer), onRefused(error, images): may give a promise, before which nothing
// else goes; onRest(): nothing is under way, though more may wait.

export class Outbox {
  constructor({ post, onKept, onRefused, onRest }) {
    Object.assign(this, { post, onKept, onRefused, onRest });
    this.pending = []; // {image, item}
    this.under = []; // those that are under way
    this.sending = null; // promise
  }

  get isBusy() {
    return Boolean(this.sending || this.pending.length);
  }

  // Of these it is not known yet what they are called.
  get ids() {
    return new Set([...this.pending, ...this.under].map(({ image }) => image.id));
  }

  add(image, item) {
    this.pending.push({ image, item });
    this.#send();
  }

  // Gives how many go nowhere any more.
  drop() {
    return this.pending.splice(0).length;
  }

  // Once all is kept that was said.
  async settled() {
    while (this.isBusy) await this.sending;
  }

  #send() {
    if (!this.sending && this.pending.length) this.sending = this.#round();
  }

  async #round() {
    const under = (this.under = this.pending.splice(0));
    try {
      const answer = await this.post(under.map(({ item }) => item));
      this.under = [];
      await this.onKept(answer);
    } catch (error) {
      this.under = [];
      await this.onRefused(error, under.map(({ image }) => image));
    }
    this.sending = null;
    this.onRest();
    this.#send();
  }
}
