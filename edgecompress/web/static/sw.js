// Keeps the page for use without a network. The lists are filled in by `edgecompress export-web`; all names but the
// page's own hold a digest of the content, so a kept file never has to be asked for again.
const VERSION = "{{VERSION}}";
const SMALL = "{{SMALL}}";
const LARGE = "{{LARGE}}";

// Caches belong to a whole origin, on which another such page may lie in another folder.
const PREFIX = `edgecompress ${self.registration.scope} `;
const CACHE = PREFIX + VERSION;
const PAGE = new URL("./", self.registration.scope).href;
const OURS = new Set([...SMALL, ...LARGE].map((path) => new URL(path, PAGE).href));

async function keep(cache, path) {
  const url = new URL(path, PAGE).href;
  const kept = url === PAGE ? undefined : await caches.match(url);
  const response = kept ?? (await fetch(url, { cache: url === PAGE ? "reload" : "default" }));
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  await cache.put(url, response);
}

async function install() {
  const cache = await caches.open(CACHE);
  // The first visit's page has loaded the large files itself, to show how far they are, and laid them into a cache of
  // its own. A worker, the first one or an update, must be whole before it takes over.
  await Promise.all([...SMALL, ...LARGE].map((path) => keep(cache, path)));
  await self.skipWaiting();
}

async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
}

async function answer(event, url) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(url);
  if (kept) return kept;
  const response = await fetch(event.request);
  if (response.status === 200 && OURS.has(url)) event.waitUntil(cache.put(url, response.clone()));
  return response;
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const asked = url.origin + url.pathname;
  const ours = asked === `${PAGE}index.html` ? PAGE : asked;
  if (event.request.method === "GET" && OURS.has(ours)) event.respondWith(answer(event, ours));
});
