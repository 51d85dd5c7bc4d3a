/**
 * A small client of Lignum's HTTP interface (doc/http.md), for browsers and Node 20 or later. No dependencies.
 *
 *     import { Lignum } from "./lignum.js";
 *     const lignum = new Lignum(["http://node-1:8080", "http://node-2:8080"], { token: "lgn_..." });
 *     await lignum.publish("orders", [{ key: "42", data: { total: 12 } }]);
 *     for await (const m of lignum.follow("orders", { from: "earliest" })) console.log(m.offset, m.text());
 *     await lignum.group("orders", "mails").work(async (m) => send(m.json()), { signal });
 *
 * Every call goes to one node, and to the next one when that cannot be reached or cannot serve. A publish carries an
 * Idempotency-Key, so that it can be sent again after an answer was lost, and is stored once. What a node refuses for
 * good is thrown at once, as a LignumError with the problem's members.
 */

const RETRY_MIN = 100,
  RETRY_MAX = 2000; // milliseconds between two attempts
const SILENCE = 40000; // a stream says something every 15 s; after this it is dead
const KEPT_TURNS = 1000; // changes of epoch that a follower remembers

/**
 * @typedef {object} Options
 * @property {string} [token]      the secret of an access token
 * @property {number} [timeout]    milliseconds for a call in all, attempts included (30000)
 * @property {number} [patience]   after which a node that does not answer is left, if there is another (12000)
 * @property {typeof fetch} [fetch]
 *
 * @typedef {object} Outgoing      a message to publish
 * @property {string|Uint8Array|object} data   an object is sent as JSON
 * @property {string|Uint8Array} [key]
 * @property {Record<string, string>} [headers]
 * @property {number} [delay]      seconds
 * @property {number} [ttl]        seconds
 *
 * @typedef {object} Receipt
 * @property {string} topic
 * @property {number} first
 * @property {number} next
 * @property {number} count
 * @property {string} next_token
 * @property {string} committed
 * @property {boolean} [duplicate]
 */

/** What a node has refused, or why no node could be reached (code "unreachable"). */
export class LignumError extends Error {
  /** @param {Record<string, any>} problem */
  constructor(problem) {
    super(problem.detail || problem.title || problem.code);
    this.name = "LignumError";
    Object.assign(this, problem);
    /** @type {string} */ this.code = problem.code;
    /** @type {number} */ this.status = problem.status || 0;
    this.retryable = problem.retryable === true;
  }
}

const encoder = new TextEncoder(),
  decoder = new TextDecoder();

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** @param {string} text */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** A message that was read. */
export class Message {
  /** @param {Record<string, any>} fields */
  constructor(fields) {
    /** @type {number} */ this.offset = fields.offset;
    /** @type {number} */ this.epoch = fields.epoch;
    /** @type {string} */ this.time = fields.time;
    /** @type {string|undefined} */ this.key = fields.key;
    /** @type {string|undefined} */ this.key_base64 = fields.key_base64;
    /** @type {Record<string, string>} */ this.headers = fields.headers || {};
    /** @type {string|undefined} */ this.lease = fields.lease;
    /** @type {number|undefined} */ this.delivery = fields.delivery;
    /** @type {string|undefined} */ this.data = fields.data;
    /** @type {string|undefined} */ this.base64 = fields.base64;
    /** @type {any} */ this.value = fields.json;
  }

  /** @returns {Uint8Array} */
  bytes() {
    return this.base64 === undefined ? encoder.encode(this.text()) : fromBase64(this.base64);
  }

  /** @returns {string} */
  text() {
    if (this.value !== undefined) return JSON.stringify(this.value);
    return this.data === undefined ? decoder.decode(this.bytes()) : this.data;
  }

  /** @returns {any} */
  json() {
    return this.value !== undefined ? this.value : JSON.parse(this.text());
  }
}

/** @param {Outgoing|string|Uint8Array} message */
function envelope(message) {
  /** @type {Outgoing} */
  const m = typeof message === "string" || message instanceof Uint8Array ? { data: message } : message;
  /** @type {Record<string, any>} */
  const e = { headers: m.headers, delay: m.delay, ttl: m.ttl };
  if (m.key instanceof Uint8Array) e.key_base64 = toBase64(m.key);
  else if (m.key !== undefined) e.key = m.key;
  if (m.data instanceof Uint8Array) e.base64 = toBase64(m.data);
  else e.data = typeof m.data === "string" ? m.data : JSON.stringify(m.data);
  return e;
}

/** @param {number} ms @param {AbortSignal} [signal] */
function pause(ms, signal) {
  return new Promise((done, fail) => {
    const stop = () => (clearTimeout(timer), fail(signal?.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), done(undefined)), ms);
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
  });
}

/**
 * Reads an event stream: yields { id, event, data } and, for a comment, {}.
 * @param {ReadableStream<Uint8Array>|null} body
 */
async function* events(body) {
  if (!body) return;
  const reader = body.getReader(),
    text = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      /** @type {any} */ let timer;
      /** @type {Promise<never>} */
      const silent = new Promise(
        (_, no) => (timer = setTimeout(() => no(new Error("the stream is silent")), SILENCE)),
      );
      const { value, done } = await Promise.race([reader.read(), silent]).finally(() => clearTimeout(timer));
      if (done) return;
      const blocks = (rest + text.decode(value, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        /** @type {Record<string, string>} */
        const event = {};
        for (const line of block.split("\n")) {
          const at = line.indexOf(":");
          if (at <= 0) continue;
          const name = line.slice(0, at),
            value = line.slice(at + 1).replace(/^ /, "");
          event[name] = name === "data" && event.data !== undefined ? event.data + "\n" + value : value;
        }
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * The epochs of the messages that a follower has seen, to find where its history and a node's agree.
 * @private
 */
class Turns {
  constructor() {
    /** @type {{ epoch: number, next: number }[]} */ this.list = [];
  }

  /** @param {{ epoch: number, offset: number }} m */
  saw(m) {
    const last = this.list[this.list.length - 1];
    if (last && last.epoch === m.epoch) last.next = m.offset + 1;
    else this.list.push({ epoch: m.epoch, next: m.offset + 1 });
    if (this.list.length > KEPT_TURNS) this.list.shift();
  }

  /**
   * Drops what the node does not have: it and this history agree at most up to this epoch and offset. Returns the place
   * at which to ask next.
   * @param {number} epoch @param {number} offset
   */
  cut(epoch, offset) {
    while (this.list.length > 0 && this.list[this.list.length - 1].epoch > epoch) this.list.pop();
    const last = this.list[this.list.length - 1];
    if (!last) return { epoch: 0, offset };
    last.next = Math.min(last.next, offset);
    return { epoch: last.epoch, offset: last.next };
  }
}

export class Lignum {
  /**
   * @param {string|string[]} urls   of nodes: the first one that serves is used; "" is the node that sent this page
   * @param {Options} [options]
   */
  constructor(urls = "", options = {}) {
    this.urls = (Array.isArray(urls) ? urls : [urls]).map((u) => u.replace(/\/+$/, ""));
    this.at = 0;
    this.token = options.token;
    this.timeout = options.timeout ?? 30000;
    this.patience = options.patience ?? 12000;
    /** @type {typeof fetch} */
    this.fetch = options.fetch ?? ((...args) => fetch(...args));
  }

  /**
   * @private
   * @param {string} method @param {string} path
   * @param {{ body?: any, headers?: Record<string, string>, signal?: AbortSignal, type?: string }} o
   */
  async attempt(method, path, { body, headers, signal, type }) {
    /** @type {Record<string, string>} */
    const all = { ...headers };
    if (this.token) all.Authorization = "Bearer " + this.token;
    if (type) all["Content-Type"] = type;
    const url = this.urls[this.at % this.urls.length] + path;
    let response;
    try {
      response = await this.fetch(url, { method, body, headers: all, signal, cache: "no-store" });
    } catch (why) {
      if (signal?.aborted) throw signal.reason;
      throw new LignumError({ code: "unreachable", detail: `${url || path}: ${why.message}`, retryable: true });
    }
    if (response.ok) return response;
    let problem;
    try {
      problem = await response.json();
    } catch {
      problem = { detail: `${method} ${path} was answered with ${response.status}` };
    }
    const wait = Number(response.headers.get("Retry-After")) * 1000;
    throw new LignumError({
      retryable: response.status >= 502,
      code: "http_" + response.status,
      ...problem,
      status: response.status,
      wait,
    });
  }

  /**
   * One call, sent again and to the next node as long as that can help. `repeats`: it may be sent again when it is not
   * known whether it was done.
   * @param {string} method @param {string} path
   * @param {{ body?: any, headers?: Record<string, string>, signal?: AbortSignal, type?: string, repeats?: boolean,
   *   timeout?: number, wait?: number }} [o]   wait: seconds for which the node may wait before it answers
   */
  async request(method, path, o = {}) {
    const waits = (o.wait ?? 0) * 1000;
    const until = Date.now() + waits + (o.timeout ?? this.timeout);
    const repeats = o.repeats ?? (method === "GET" || method === "PUT" || method === "DELETE");
    const patience = repeats && this.urls.length > 1 ? this.patience + waits : Infinity;
    let problem;
    for (let tries = 0; ; tries++) {
      const limit = AbortSignal.timeout(Math.max(1, Math.min(until - Date.now(), patience)));
      const signal = o.signal ? AbortSignal.any([o.signal, limit]) : limit;
      try {
        return await this.attempt(method, path, { ...o, signal });
      } catch (why) {
        if (o.signal?.aborted) throw o.signal.reason;
        const late = why?.name === "TimeoutError";
        if (!late && !(why instanceof LignumError)) throw why;
        if (!late) problem = why;
        problem ??= new LignumError({ code: "timeout", detail: `${method} ${path} is not answered`, retryable: true });
        const unknown = late || problem.code === "unreachable" || problem.code === "unknown_outcome";
        if (!problem.retryable || (unknown && !repeats) || Date.now() >= until) throw problem;
        this.at++;
        const ms = Math.min(RETRY_MAX, RETRY_MIN * 2 ** tries) * (0.5 + Math.random() / 2);
        await pause(
          Math.min(Math.max(ms, this.urls.length > 1 ? 0 : problem.wait || 0), Math.max(0, until - Date.now())),
          o.signal,
        );
      }
    }
  }

  /** @param {string} path @param {object} [o] @returns {Promise<any>} */
  async get(path, o) {
    return (await this.request("GET", path, o)).json();
  }

  /**
   * Sends JSON; the answer's JSON, or null.
   * @param {string} method @param {string} path @param {any} [body] @param {object} [o] @returns {Promise<any>}
   */
  async send(method, path, body, o = {}) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.request(method, path, { body: text, type: text && "application/json", ...o });
    return response.status === 204 ? null : response.json();
  }

  // ---- topics

  /** @param {string} topic */
  static path(topic) {
    return "/v1/topics/" + encodeURIComponent(topic);
  }

  /** @param {{ pattern?: string, limit?: number, after?: string, internal?: boolean }} [o] */
  topics(o = {}) {
    return this.get(
      "/v1/topics" + query({ pattern: o.pattern, limit: o.limit, after: o.after, internal: o.internal && 1 }),
    );
  }

  /** @param {string} name @param {object} [o] */
  topic(name, o) {
    return this.get(Lignum.path(name), o);
  }
  /** @param {string} name @param {object} [settings] */
  createTopic(name, settings) {
    return this.send("PUT", Lignum.path(name), settings);
  }
  /** @param {string} name @param {object} settings */
  changeTopic(name, settings) {
    return this.send("PATCH", Lignum.path(name), settings, { repeats: true });
  }
  /** @param {string} name */
  deleteTopic(name) {
    return this.send("DELETE", Lignum.path(name));
  }

  /** @param {object} [o] */
  cluster(o) {
    return this.get("/v1/cluster", o);
  }
  /** @param {object} [o] */
  health(o) {
    return this.get("/v1/health", o);
  }
  /** @param {object} [o] */
  hooks(o) {
    return this.get("/v1/hooks", o);
  }
  /** @param {object} [o] */
  me(o) {
    return this.get("/v1/me", o);
  }

  /**
   * The node's counters, every few seconds, until the stream breaks.
   * @param {{ every?: number, signal?: AbortSignal }} [o]
   * @returns {AsyncGenerator<any, void>}
   */
  async *stats(o = {}) {
    const response = await this.attempt("GET", "/v1/stats" + query({ every: o.every }), {
      headers: { Accept: "text/event-stream" },
      signal: o.signal,
    });
    for await (const event of events(response.body)) {
      if (event.event === "error") throw new LignumError(JSON.parse(event.data));
      if (event.data !== undefined) yield JSON.parse(event.data);
    }
  }

  /** Puts the leader's address first: writes then need no forwarding. @returns {Promise<string|null>} its URL */
  async preferLeader() {
    const { leader } = await this.cluster();
    if (!leader?.http) return null;
    this.urls = [leader.http, ...this.urls.filter((u) => u !== leader.http)];
    this.at = 0;
    return leader.http;
  }

  // ---- publishing

  /**
   * Publishes messages as one batch, once, however often it has to be sent.
   * @param {string} topic
   * @param {Outgoing|string|Uint8Array|(Outgoing|string|Uint8Array)[]} messages
   * @param {{ id?: string, producer?: { id: string, epoch?: number, seq: number }, expect?: string, ack?: string,
   *   signal?: AbortSignal, timeout?: number }} [o]   id: the Idempotency-Key (a random one); expect: If-Match
   * @returns {Promise<Receipt>}
   */
  publish(topic, messages, o = {}) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (o.producer) {
      headers["Producer-Id"] = o.producer.id;
      headers["Producer-Seq"] = String(o.producer.seq);
      headers["Producer-Epoch"] = String(o.producer.epoch ?? 0);
    } else {
      headers["Idempotency-Key"] = o.id ?? crypto.randomUUID();
    }
    if (o.expect) headers["If-Match"] = `"${o.expect}"`;
    if (o.ack) headers["Lignum-Ack"] = o.ack;
    const list = (Array.isArray(messages) ? messages : [messages]).map(envelope);
    return this.send("POST", Lignum.path(topic) + "/messages", list, {
      headers,
      repeats: true,
      signal: o.signal,
      timeout: o.timeout,
    });
  }

  /**
   * A producer whose requests are stored once and in order. A higher epoch fences the lower ones of the same id.
   * @param {string} topic
   * @param {{ id?: string, epoch?: number }} [o]   id: a random one; epoch: 0, with an id that is given the time in ms
   */
  producer(topic, o = {}) {
    return new Producer(this, topic, o);
  }

  // ---- reading

  /**
   * @param {string} topic
   * @param {{ from?: string|number, to?: string|number, limit?: number, bytes?: number, wait?: number,
   *   signal?: AbortSignal }} [o]
   * @returns {Promise<{ messages: Message[], next: number, next_token: string, earliest: number }>}
   */
  async read(topic, o = {}) {
    const { signal, ...parameters } = o;
    const response = await this.request("GET", Lignum.path(topic) + "/messages" + query(parameters), {
      signal,
      headers: { Accept: "application/json" },
      wait: o.wait,
    });
    const body = await response.json();
    return {
      ...body,
      messages: body.messages.map((/** @type {any} */ m) => new Message(m)),
      earliest: Number(response.headers.get("Lignum-Earliest")),
    };
  }

  /**
   * The token of a topic's end: what "latest" means is decided once, not by each attempt of a follower.
   * @private
   * @param {string} topic @param {AbortSignal} [signal]
   */
  async end(topic, signal) {
    try {
      return (await this.read(topic, { from: "latest", signal })).next_token;
    } catch (why) {
      if (why.code === "unknown_topic") return "earliest"; // it is not there yet
      if (signal?.aborted) return "latest"; // the follower ends
      throw why;
    }
  }

  /**
   * Follows a topic without end, from node to node. When messages that it has delivered were truncated, as a WAL topic
   * allows, it calls `onTruncated(offset)`: forget what you have from there on; and goes on with what is there instead.
   * When messages were removed before it has read them, it calls `onGap(from, earliest)`.
   * @param {string} topic
   * @param {{ from?: string|number, signal?: AbortSignal, onTruncated?: (offset: number) => void,
   *   onGap?: (from: number, earliest: number) => void, onState?: (state: "open"|"lost", why?: any) => void }} [o]
   * @returns {AsyncGenerator<Message, void>}
   */
  async *follow(topic, o = {}) {
    const turns = new Turns();
    let from = String(o.from ?? "earliest"),
      lastId = "",
      id = "",
      tries = 0;
    if (from === "latest") from = await this.end(topic, o.signal);
    for (;;) {
      try {
        const path = Lignum.path(topic) + "/messages" + (lastId ? "" : query({ from }));
        /** @type {Record<string, string>} */
        const headers = { Accept: "text/event-stream" };
        if (lastId) headers["Last-Event-ID"] = lastId;
        const response = await this.attempt("GET", path, { headers, signal: o.signal });
        o.onState?.("open");
        for await (const event of events(response.body)) {
          tries = 0;
          if (event.event === "error") throw new LignumError({ status: 409, ...JSON.parse(event.data) });
          if (event.data === undefined) continue;
          const m = new Message(JSON.parse(event.data));
          lastId = event.id;
          id = event.id.split(":")[2];
          turns.saw(m);
          yield m;
        }
      } catch (why) {
        if (o.signal?.aborted) return;
        o.onState?.("lost", why);
        if (why.code === "log_truncated" && why.offset !== undefined) {
          const place = turns.cut(why.epoch ?? 0, why.offset);
          o.onTruncated?.(place.offset);
          [lastId, from] = ["", `${place.epoch}:${place.offset}` + (id ? ":" + id : "")];
          continue;
        }
        if (why.code === "offset_gone" && why.earliest !== undefined) {
          const last = turns.list[turns.list.length - 1];
          o.onGap?.(last ? last.next : Number(from) || 0, why.earliest);
          [lastId, from] = ["", String(why.earliest)];
          continue;
        }
        const passing = !(why instanceof LignumError) || why.retryable || why.code === "unreachable";
        if (!passing && why.code !== "unavailable") throw why;
      }
      this.at++;
      try {
        await pause(Math.min(RETRY_MAX, RETRY_MIN * 2 ** tries++), o.signal);
      } catch {
        return;
      }
    }
  }

  // ---- groups

  /** @param {string} topic @param {string} name */
  group(topic, name) {
    return new Group(this, topic, name);
  }
}

/** Publishes to one topic; each request once, in order, over failovers and restarts of nodes. */
export class Producer {
  /** @param {Lignum} client @param {string} topic @param {{ id?: string, epoch?: number }} o */
  constructor(client, topic, o) {
    this.client = client;
    this.topic = topic;
    this.id = o.id ?? crypto.randomUUID();
    this.epoch = o.epoch ?? (o.id === undefined ? 0 : Date.now());
    this.seq = 0;
    /** @type {any} */ this.pending = null;
  }

  /**
   * Publishes messages as one batch. After a failure that is `retryable` the batch is pending: call retry() until it
   * succeeds. Nothing else can be published before that.
   * @param {Outgoing|string|Uint8Array|(Outgoing|string|Uint8Array)[]} messages
   * @param {{ ack?: string, timeout?: number }} [o]
   */
  publish(messages, o = {}) {
    if (this.pending) throw new Error("the last batch is pending: retry() it first");
    this.pending = { messages, o };
    return this.retry();
  }

  /**
   * Sends the pending batch again. It is stored once, even if it was before; then the receipt has `duplicate`.
   * @returns {Promise<Receipt>}
   */
  async retry() {
    if (!this.pending) throw new Error("no batch is pending");
    const { messages, o } = this.pending,
      producer = { id: this.id, epoch: this.epoch, seq: this.seq };
    try {
      const receipt = await this.client.publish(this.topic, messages, { ...o, producer });
      this.pending = null;
      this.seq++;
      return receipt;
    } catch (why) {
      if (why instanceof LignumError && !why.retryable) this.pending = null; // refused for good: its number is free
      throw why;
    }
  }
}

/** A consumer group of a topic. */
export class Group {
  /** @param {Lignum} client @param {string} topic @param {string} name */
  constructor(client, topic, name) {
    this.client = client;
    this.path = `${Lignum.path(topic)}/groups/${encodeURIComponent(name)}`;
  }

  /** @param {object} [o] */
  info(o) {
    return this.client.get(this.path, o);
  }
  create(settings = {}) {
    return this.client.send("PUT", this.path, settings);
  }
  /** @param {object} settings */
  change(settings) {
    return this.client.send("PATCH", this.path, settings, { repeats: true });
  }
  delete() {
    return this.client.send("DELETE", this.path);
  }
  /** @param {string|number} to */
  seek(to) {
    return this.client.send("POST", this.path + "/seek", { to }, { repeats: true });
  }
  redrive(o = {}) {
    return this.client.send("POST", this.path + "/redrive", o, { repeats: true });
  }

  /**
   * Leases messages. One whose answer is lost comes again when its lease is over.
   * @param {{ consumer?: string, limit?: number, bytes?: number, wait?: number, settle?: object,
   *   signal?: AbortSignal }} [o]
   * @returns {Promise<Message[]>}
   */
  async claim(o = {}) {
    const { signal, ...body } = o;
    const answer = await this.client.send("POST", this.path + "/claim", body, {
      signal,
      repeats: true,
      wait: o.wait,
    });
    return answer.messages.map((/** @type {any} */ m) => new Message(m));
  }

  /** @param {{ ack?: any[], release?: any[], reject?: any[], extend?: any[] }} what */
  async settle(what) {
    return (await this.client.send("POST", this.path + "/settle", what, { repeats: true })).results;
  }

  /** They are done. @param {...Message} messages */
  ack(...messages) {
    return this.settle({ ack: messages.map((m) => m.lease) });
  }

  /** @param {Message} m @param {number} [delay]   seconds */
  release(m, delay) {
    return this.settle({ release: [delay === undefined ? m.lease : { lease: m.lease, delay }] });
  }

  /** Its lease lasts that many seconds from now. @param {Message} m @param {number} seconds */
  extend(m, seconds) {
    return this.settle({ extend: [{ lease: m.lease, seconds }] });
  }

  /** @param {Message} m @param {string} [why] */
  reject(m, why) {
    return this.settle({ reject: [why === undefined ? m.lease : { lease: m.lease, why }] });
  }

  /**
   * Calls `fn` with each message: what it returns for is acknowledged, what it throws for is released. Ends with the
   * signal.
   * @param {(m: Message) => any} fn
   * @param {{ consumer?: string, limit?: number, wait?: number, signal?: AbortSignal,
   *   onError?: (why: any, m: Message) => void }} [o]
   */
  async work(fn, o = {}) {
    const { signal, onError, ...claim } = { wait: 20, ...o };
    while (!signal?.aborted) {
      let messages;
      try {
        messages = await this.claim({ ...claim, signal });
      } catch (why) {
        if (signal?.aborted) return;
        throw why;
      }
      for (const m of messages) {
        try {
          await fn(m);
        } catch (why) {
          onError?.(why, m);
          await this.release(m);
          continue;
        }
        await this.ack(m);
      }
    }
  }
}

/** @param {Record<string, any>} parameters */
function query(parameters) {
  const text = new URLSearchParams(
    Object.entries(parameters).filter(([, v]) => v !== undefined && v !== false && v !== ""),
  ).toString();
  return text && "?" + text;
}
