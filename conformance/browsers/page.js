// What the cases' scripts use in the page. Every wait has a limit.
const WAIT = 20_000;
const CLOSE = 3_000; // from `error` to `close`, which the standard has follow at once

const late = (promise, what) => Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`waited ${WAIT} ms for ${what}`)), WAIT))]);

const $ = (selector) => {
  const found = document.querySelector(selector);
  if (!found) throw new Error(`no ${selector}`);
  return found;
};

// Waits until `look` gives something; it is asked whenever the document changes.
const until = (look, what) => late(new Promise((resolve, reject) => {
  const observer = new MutationObserver(() => ask());
  const ask = () => {
    try {
      const found = look();
      if (!found) return;
      resolve(found);
    } catch (error) {
      reject(error);
    }
    observer.disconnect();
  };
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  ask();
}), what);

const fill = (selector, value) => {
  $(selector).value = value;
  $(selector).dispatchEvent(new Event('input', { bubbles: true }));
};

// The rows of the page's log of a kind, as soon as there are so many.
const rows = async (selector, count) => {
  const all = () => [...document.querySelectorAll(`#log li${selector}`)];
  await until(() => all().length >= count, `${count} rows ${selector}, there being ${all().length} at first`);
  return all().map((row) => ({
    text: row.querySelector('.body > span').textContent, rtt: row.querySelector('.rtt').textContent, size: Number(row.dataset.size), kind: row.dataset.kind,
    event: row.dataset.event, shown: row.checkVisibility(),
  }));
};

// What a WebSocket tells until it is closed, or for so long; once it is open, `then` is called with it.
const events = (url, then = () => {}, protocols = []) => new Promise((resolve) => {
  const seen = [];
  const end = () => resolve([...seen, 'no more']);
  setTimeout(end, WAIT);
  let socket;
  try {
    socket = new WebSocket(url, protocols);
  } catch (error) {
    return resolve([error.name]);
  }
  socket.onopen = () => {
    seen.push(socket.protocol ? `open ${socket.protocol}` : 'open');
    then(socket);
  };
  socket.onerror = () => {
    seen.push('error');
    setTimeout(end, CLOSE);
  };
  socket.onclose = ({ code, reason, wasClean }) => resolve([...seen, `close ${code} ${JSON.stringify(reason)} ${wasClean ? 'clean' : 'unclean'}`]);
});

// Sends messages, at most 8 in flight, and compares each that comes back. Gives the extensions, and how the connection ended.
const echo = (url, count, message, same) => late(new Promise((resolve, reject) => {
  const socket = Object.assign(new WebSocket(url), { binaryType: 'arraybuffer' });
  let sent = 0, came = 0;
  const more = () => { while (sent < count && sent < came + 8) socket.send(message(sent++)); };
  socket.onopen = more;
  socket.onmessage = ({ data }) => {
    if (!same(data, came)) reject(new Error(`message ${came} is not what was sent`));
    came += 1;
    if (came === count) socket.close(1000);
    else more();
  };
  socket.onclose = ({ code, wasClean }) => resolve({ came, extensions: socket.extensions, code, wasClean });
}), `${count} echoes`);

// The texts that stand out from their background by less than WCAG AA asks for. Disabled controls are exempt.
const poorContrast = () => {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()) && one.checkVisibility() && !one.disabled && one.tagName !== 'SCRIPT')
    .map((one) => {
      const [low, high] = [luminance(channels(getComputedStyle(one).color)), luminance(behind(one))].sort((a, b) => a - b);
      return [(high + 0.05) / (low + 0.05), one.outerHTML.slice(0, 100)];
    })
    .filter(([ratio]) => ratio < 4.5);
};
