// The page at `/`. It uses only the public API.
// User text becomes text nodes or attributes of known elements, never markup.

const get = (id) => document.getElementById(id);
const images = new URL("images", document.baseURI);
const KEY = "image-api-key";
const cache = new Map(); // the metadata of the grid's items by name, in their order
let cursor = "";
let generation = 0; // of the listing; responses to an earlier one are dropped
let loading = false;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const addressOf = (name, rest = "") => new URL(`images/${encodeURIComponent(name)}${rest}`, document.baseURI);
const say = (text, bad = false, id = "status") => {
  get(id).textContent = text;
  get(id).classList.toggle("bad", bad);
};

// Requests

async function problemOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  return new Error(problem.detail ?? `The service answered ${answer.status}.`);
}

async function ask(url, options = {}, mayAsk = true) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const answer = await fetch(url, { ...options, headers }).catch(() => {
    throw new Error("The service cannot be reached.");
  });
  if (answer.status === 401 && mayAsk && (await signIn(key !== null))) return ask(url, options);
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

let signingIn = null;
function signIn(wasWrong) {
  signingIn ??= new Promise((resolve) => {
    get("key").value = "";
    say(wasWrong ? "The service does not know this key." : "", true, "key-status");
    get("sign-in").addEventListener("close", () => {
      const key = get("sign-in").returnValue && get("key").value.trim();
      if (key) sessionStorage.setItem(KEY, key);
      else sessionStorage.removeItem(KEY);
      get("sign-out").hidden = !key;
      get("key").value = "";
      signingIn = null;
      resolve(Boolean(key));
    }, { once: true });
    get("sign-in").returnValue = "";
    get("sign-in").showModal();
  });
  return signingIn;
}

// Fetches a picture with the key, without a redirect: S3 must not see the key.
function fetchImage(address) {
  const url = new URL(address, document.baseURI);
  url.searchParams.set("redirect", "false");
  return ask(url, {}, false).then((answer) => answer.blob());
}

const forget = (img) => img.src.startsWith("blob:") && URL.revokeObjectURL(img.src);

// Shows a picture, fetched with the key if its address needs one.
function show(img, address, srcset = "") {
  forget(img);
  img.onerror = async () => {
    img.onerror = null;
    if (!sessionStorage.getItem(KEY)) return;
    img.removeAttribute("srcset");
    const blob = await fetchImage(address).catch(() => null);
    if (blob) img.src = URL.createObjectURL(blob);
  };
  img.srcset = srcset;
  img.src = address;
}

// The grid

const describe = ({ name, width, height }) => `${name}, ${width} by ${height} pixels`;
const isSquare = /^(\d+)x\1-crop$/;
function thumbnail(image) {
  const squares = Object.entries(image.variants).filter(([spec]) => isSquare.test(spec));
  const img = make("img", { loading: "lazy", width: 320, height: 320, alt: describe(image) });
  const srcset = squares.map(([spec, url]) => `${url} ${parseInt(spec)}w`).join(", ");
  if (srcset) img.sizes = "(max-width: 30rem) 44vw, 14rem";
  show(img, (squares[0] ?? Object.entries(image.variants)[0] ?? ["", image.url])[1], srcset);
  return img;
}

function item(image) {
  const label = make("span", { ariaHidden: "true" }, image.name);
  const onclick = () => openDetail(image.name);
  const element = make("li", {}, make("button", { type: "button", onclick }, thumbnail(image), label));
  element.dataset.name = image.name;
  return element;
}

const itemOf = (name) => [...get("grid").children].find((element) => element.dataset.name === name);
function put(image) {
  const old = itemOf(image.name);
  cache.set(image.name, image);
  if (old) old.replaceWith(item(image));
  else if (image.name.startsWith(get("prefix").value)) get("grid").prepend(item(image));
}

function remove(name) {
  cache.delete(name);
  itemOf(name)?.remove();
}

async function more() {
  if (loading || cursor === null) return;
  loading = true;
  const mine = generation;
  const query = { limit: 60, order: get("order").value, prefix: get("prefix").value, ...(cursor && { cursor }) };
  try {
    const page = await (await ask(`${images}?${new URLSearchParams(query)}`)).json();
    if (mine !== generation) return;
    const fresh = page.images.filter((image) => !cache.has(image.name));
    for (const image of fresh) cache.set(image.name, image);
    get("grid").append(...fresh.map(item));
    cursor = page.next_cursor;
    say(cache.size ? "" : "There are no pictures here yet.");
  } catch (error) {
    if (mine === generation) cursor = null;
    say(error.message, true);
  } finally {
    loading = false;
    if (mine !== generation || (cursor && isNear)) more();
  }
}

function reload() {
  generation += 1;
  cursor = "";
  cache.clear();
  get("grid").querySelectorAll("img").forEach(forget);
  get("grid").replaceChildren();
  more();
}

let isNear = false;
new IntersectionObserver(([entry]) => {
  isNear = entry.isIntersecting;
  if (isNear) more();
}, { rootMargin: "800px" }).observe(get("end"));

// Uploads

function send(file, fields, headers, progress) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("file", file, file.name || "pasted.png");
    const request = new XMLHttpRequest();
    request.open("POST", images);
    const key = sessionStorage.getItem(KEY);
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => { progress.max = event.total; progress.value = event.loaded; };
    request.onerror = () => reject(new Error("The connection broke, or this is a folder or a file that cannot be read."));
    request.onload = async () => {
      if (request.status < 300) return resolve(JSON.parse(request.responseText));
      if (request.status === 401 && (await signIn(Boolean(key)))) return resolve(send(file, fields, headers, progress));
      reject(await problemOf(new Response(request.responseText, { status: request.status })));
    };
    request.send(form);
  });
}

async function upload(file, fields = {}, headers = {}) {
  const progress = make("progress", { ariaLabel: `Upload of ${file.name}` });
  const outcome = make("span", { role: "status" });
  const row = make("li", {}, make("span", {}, file.name || "Pasted picture"), progress, outcome);
  get("uploads").append(row);
  try {
    const image = await send(file, fields, headers, progress);
    put(image);
    say("");
    row.remove();
    return image;
  } catch (error) {
    progress.remove();
    outcome.className = "bad";
    outcome.textContent = error.message;
    row.append(make("button", { type: "button", onclick: () => row.remove() }, "Dismiss"));
    throw error;
  }
}

async function uploadAll(files) {
  const waiting = [...files];
  const work = async () => { while (waiting.length) await upload(waiting.shift()).catch(() => {}); };
  await Promise.all([work(), work(), work()]);
}

// The detail view

let shown = null;

async function openDetail(name) {
  try {
    showDetail(await (await ask(addressOf(name, "/metadata"))).json());
    if (!get("detail").open) get("detail").showModal();
  } catch (error) {
    say(error.message, true);
  }
}

function showDetail(image) {
  shown = image;
  say("", false, "detail-status");
  get("detail-name").textContent = image.name;
  const picture = get("detail-picture");
  Object.assign(picture, { alt: describe(image), width: image.width, height: image.height });
  show(picture, image.variants["1280"] ?? image.url);
  const { variants, url, ...facts } = image;
  get("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [
    make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, String(value)),
  ]));
  get("addresses").replaceChildren(...[["original", url], ...Object.entries(variants)].map(([spec, address]) => {
    const absolute = new URL(address, document.baseURI).href;
    const code = make("code", {}, absolute);
    const onclick = async () => {
      getSelection().selectAllChildren(code); // the clipboard API works only over HTTPS
      await navigator.clipboard?.writeText(absolute);
      say(`The address of ${spec} is ${navigator.clipboard ? "copied" : "selected"}.`, false, "detail-status");
    };
    const properties = { type: "button", ariaLabel: `Copy the address of ${spec}`, onclick };
    return make("li", {}, make("span", {}, spec), code, make("button", properties, "Copy"));
  }));
  get("download").href = url;
}

// Redraws the detail view of a picture if it is still open.
const renew = (image) => get("detail").open && shown.name === image.name && showDetail(image);

// Changes only the shown version. If somebody else has replaced it, shows the new one instead.
async function change({ name, sha256 }, act) {
  try {
    await act(name, { "If-Match": `"${sha256}"` });
  } catch (error) {
    const now = await ask(addressOf(name, "/metadata")).then((answer) => answer.json(), () => null);
    if (now && now.sha256 !== sha256) { put(now); renew(now); }
    say(error.message, true, shown.name === name ? "detail-status" : "status");
  }
}

const confirmed = (question) => new Promise((resolve) => {
  get("question").textContent = question;
  get("confirmation").returnValue = "";
  get("confirmation").addEventListener("close", () => resolve(get("confirmation").returnValue === "yes"), { once: true });
  get("confirmation").showModal();
});

get("delete").addEventListener("click", () => {
  change(shown, async (name, headers) => {
    if (!(await confirmed(`Delete ${name} for good?`))) return;
    await ask(addressOf(name), { method: "DELETE", headers });
    remove(name);
    get("detail").close();
  });
});

get("replacement").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) change(shown, async (name, headers) => renew(await upload(file, { name }, headers)));
});

// A link cannot send a key.
get("download").addEventListener("click", async (event) => {
  if (!sessionStorage.getItem(KEY)) return;
  event.preventDefault();
  const { name, extension, url } = shown;
  try {
    const href = URL.createObjectURL(await fetchImage(url));
    make("a", { href, download: `${name}.${extension}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    say(error.message, true, "detail-status");
  }
});

get("close").addEventListener("click", () => get("detail").close());
get("random").addEventListener("click", () => openDetail("random"));
get("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  get("sign-out").hidden = true;
  reload();
});
get("sign-out").hidden = !sessionStorage.getItem(KEY);

get("files").addEventListener("change", ({ target }) => {
  uploadAll(target.files);
  target.value = "";
});
addEventListener("paste", ({ clipboardData }) => uploadAll(clipboardData.files));
addEventListener("dragover", (event) => { event.preventDefault(); get("drop").classList.add("over"); });
addEventListener("dragleave", () => get("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  get("drop").classList.remove("over");
  uploadAll(event.dataTransfer.files);
});

get("filter").addEventListener("submit", (event) => event.preventDefault());
get("order").addEventListener("change", reload);
let typing = 0;
get("prefix").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(reload, 250);
});
