// Uses scripts/web/lignum.js from Node against real brokers, and prints what happened: a line of JSON for each step.
//     node client.mjs PATH-OF-LIGNUM.JS SCENARIO '{"urls": [...], ...}'
const [path, scenario, text] = process.argv.slice(2);
const { Lignum, LignumError } = await import(path);
const given = JSON.parse(text);
const lignum = new Lignum(given.urls, { token: given.token, timeout: given.timeout ?? 30000 });
const say = (what) => console.log(JSON.stringify(what));
const code = (promise) =>
  promise.then(
    () => "none",
    (why) => (why instanceof LignumError ? why.code : String(why)),
  );

const scenarios = {
  async publish() {
    const receipt = await lignum.publish("t", [
      "text",
      new Uint8Array([0, 255, 1]),
      { data: { a: [1, null] }, key: "k", headers: { h: "v" } },
    ]);
    const again = await lignum.publish("t", "once", { id: "the-key" });
    const same = await lignum.publish("t", "once", { id: "the-key" });
    const { messages, next, next_token } = await lignum.read("t");
    say({
      receipt,
      same: same.duplicate === true && same.first === again.first,
      next,
      token: next_token,
      texts: messages.map((m) => m.text()),
      bytes: [...messages[1].bytes()],
      json: messages[2].json(),
      key: messages[2].key,
      headers: messages[2].headers,
      refused: await code(lignum.publish("_own", "x")),
      unknown: await code(lignum.read("none")),
      expected: await code(lignum.publish("t", "x", { expect: "1:0" })),
      seq: await code(lignum.publish("t", "x", { producer: { id: "p", seq: 5 } })),
    });
  },

  // Publishes and follows at once; the test ends nodes meanwhile.
  async failover() {
    const seen = [],
      stop = new AbortController(),
      done = (async () => {
        for await (const m of lignum.follow("t", { signal: stop.signal })) {
          seen.push(m.text());
          if (seen.length === given.count) stop.abort();
        }
      })();
    const writer = new Lignum(given.urls, { timeout: 60000 });
    for (let i = 0; i < given.count; i++) {
      await writer.publish("t", String(i));
      if (i % 20 === 0) say({ published: i });
    }
    setTimeout(() => stop.abort(), 60000).unref();
    await done;
    say({ seen, leader: await writer.preferLeader(), first: writer.urls[0] });
  },

  async truncated() {
    const stop = new AbortController();
    const options = {
      signal: stop.signal,
      onTruncated: (offset) => say({ truncated: offset }),
      onGap: (from, earliest) => say({ gap: [from, earliest] }),
    };
    setTimeout(() => stop.abort(), 90000).unref();
    for await (const m of lignum.follow("t", { ...options, from: given.from })) {
      say({ offset: m.offset, text: m.text() });
      if (m.text() === given.last) stop.abort();
    }
  },

  async groups() {
    const group = lignum.group("t", "g"),
      stop = new AbortController(),
      done = [],
      failed = [];
    await lignum.createTopic("t");
    await group.create({ from: "earliest", retry: { min: 0 }, dead_letter: "dead" });
    await lignum.publish(
      "t",
      ["a", "b", "c", "d"].map((data) => ({ data })),
    );
    await group.work(
      (m) => {
        if (m.text() === "b" && m.delivery === 1) throw new Error("not yet");
        done.push(m.text());
        if (done.length === 4) stop.abort();
      },
      { limit: 2, wait: 1, signal: stop.signal, onError: (why, m) => failed.push(m.text()) },
    );
    await lignum.publish("t", "e");
    const [e] = await group.claim({ wait: 5 });
    const settled = await group.reject(e, "no good");
    for (let i = 0; i < 100 && (await group.info()).lag > 0; i++) await new Promise((done) => setTimeout(done, 50));
    say({
      done: done.sort(),
      failed,
      settled,
      lag: (await group.info()).lag,
      unknown: await code(lignum.group("t", "none").info()),
    });
  },

  async silent() {
    const began = Date.now();
    await lignum.publish("t", "x");
    const { messages } = await lignum.read("t");
    say({ count: messages.length, ms: Date.now() - began });
  },

  async unreachable() {
    const began = Date.now();
    say({ code: await code(lignum.cluster()), ms: Date.now() - began });
    const aborted = new AbortController();
    setTimeout(() => aborted.abort(new Error("enough")), 100);
    say({ aborted: await lignum.read("t", { signal: aborted.signal }).catch((why) => why.message) });
  },
};
await scenarios[scenario]();
