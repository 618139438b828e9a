// Follows pushes to their ack. Acks are cumulative, so only the newest push is
// asked about: once that is acked, so is all before it.

const WAITS_MS = [80, 120, 200, 400, 800, 1_600, 3_200];

export class Watch {
  #api;
  #stream;
  #client;
  #newest = null;
  #running = false;

  constructor(api, stream, client) {
    this.#api = api;
    this.#stream = stream;
    this.#client = client; // { id, realm }
  }

  arrived(id, seq) {
    if (seq === null) return;
    this.#newest = { id, seq };
    if (!this.#running) this.#run();
  }

  async #run() {
    this.#running = true;
    let asked = null;
    for (let n = 0; this.#newest && n < WAITS_MS.length; n++) {
      await new Promise((r) => setTimeout(r, WAITS_MS[n]));
      if (asked !== this.#newest) n = 0; // another one came: begin anew
      asked = this.#newest;
      const state = await this.#ask(asked).catch(() => 'stored'); // asked again; the state line tells of the server
      if (state === 'stored' || state === 'accepted') continue;
      if (state === 'acked' || state === 'read') this.#stream.acked(asked.seq);
      else this.#stream.state(asked.id, state);
      if (asked === this.#newest) this.#newest = null;
    }
    this.#running = false;
    if (this.#newest && this.#newest !== asked) this.#run();
  }

  async #ask({ id, seq }) {
    try {
      const push = await this.#api.status(id);
      return push.clients.find((c) => c.client === this.#client.id)?.state ?? push.state;
    } catch (problem) {
      if (problem.status !== 404) throw problem;
    }
    // Kept no history: the cursor still tells.
    const { cursor } = await this.#api.client(this.#client.id, this.#client.realm);
    return BigInt(cursor) >= seq ? 'acked' : 'stored';
  }
}
