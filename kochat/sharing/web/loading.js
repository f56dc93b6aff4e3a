/* How the weights come into the decoder: out of the page itself or, of a larger bot, from files beside it, which the
   browser keeps. */

/** Write what base64 stands for into `bytes`. */
function fromBase64(text, bytes) {
  if (bytes.setFromBase64) {
    bytes.setFromBase64(text);
    return;
  }
  const binary = atob(text);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
}

/** Fill `bytes` from files, [name, size, SHA-256] each; `tell` is called with how many bytes are there.

    Rejects where one is missing or damaged; called again it goes on with the file at which it stopped. */
async function fromFiles(files, bytes, tell) {
  const cache = await cacheOf(files);
  let start = 0;
  for (const file of files) {
    const [name, size] = file;
    const place = bytes.subarray(start, start + size);
    const told = (read) => tell(start + read);
    if (!file.isLoaded) {
      const kept = await cache?.match(name);
      if (!kept || !(await fill(place, kept, file, told))) {
        // What the browser has kept by itself may be the damaged one.
        const response = await fetch(name, { cache: cache ? "no-store" : "no-cache" });
        if (!response.ok || !(await fill(place, response, file, told))) throw new Error(`${name} is missing or damaged`);
        await keep(cache, name, place);
      }
      file.isLoaded = true;
    }
    start += size;
    tell(start);
  }
}

/** What the browser keeps of this page, without files of an earlier one; null where it keeps nothing. */
async function cacheOf(files) {
  try {
    const cache = await caches.open(`kochat ${new URL(".", location)}`);
    const wanted = new Set(files.map(([name]) => new URL(name, location).href));
    const others = (await cache.keys()).filter(({ url }) => !wanted.has(url));
    await Promise.all(others.map((request) => cache.delete(request)));
    return cache;
  } catch (error) {
    console.warn(error); // an address without https, or a private window
    return null;
  }
}

async function keep(cache, name, bytes) {
  try {
    await cache?.put(name, new Response(bytes.slice()));
  } catch (error) {
    console.warn(error); // no room: it is loaded again next time
  }
}

/** Read a response into `place`; whether it was all of the file, and nothing else. */
async function fill(place, response, [, size, sha256], tell) {
  const reader = response.body.getReader();
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (read + value.length > size) {
      await reader.cancel();
      return false;
    }
    place.set(value, read);
    read += value.length;
    tell(read);
  }
  return read === size && (!crypto.subtle || (await sha256Of(place)) === sha256); // it is there where https is
}

async function sha256Of(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
