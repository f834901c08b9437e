// What a browser sees of the gateway. Started by tests/browser.rs with a task; ends with a status other than 0 at the
// first thing that is not as it should be.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

const task = JSON.parse(process.env.TASK);
const flags = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
];
const context = await chromium.launchPersistentContext(task.profile, {
  executablePath: task.chromium,
  args: flags,
  headless: true,
});
context.setDefaultTimeout(15000);
const outside = [];
context.on("request", (request) => {
  const { hostname } = new URL(request.url());
  if (!hostname.endsWith("localhost") && hostname !== "127.0.0.1") outside.push(request.url());
});

async function step(name, work) {
  const started = Date.now();
  await work();
  console.log(`ok ${name} (${Date.now() - started} ms)`);
}

const page = await context.newPage();

await step("a site with relative links, style and picture", async () => {
  await page.goto(`${task.site}/`);
  assert.equal(await page.title(), "Home");
  assert.equal(await page.locator("h1").evaluate((h1) => getComputedStyle(h1).color), "rgb(1, 2, 3)");
  assert.equal(await page.locator("#picture").evaluate((image) => image.naturalWidth), 8);
  await page.click("#next");
  await page.waitForURL(`${task.site}/pages/next.html`);
  await page.click("text=home");
  await page.waitForURL(`${task.site}/`);
  assert.equal(await page.evaluate(() => window.originAgentCluster), true);
});

await step("a font of the site is used", async () => {
  const wide = await page.evaluate(async () => {
    const faces = await document.fonts.load("100px Own", "A");
    const measure = document.createElement("span");
    measure.style = "font: 100px Own; position: absolute";
    measure.textContent = "A";
    document.body.append(measure);
    const { width } = measure.getBoundingClientRect();
    measure.remove();
    return { faces: faces.length, width: Math.round(width) };
  });
  assert.deepEqual(wide, { faces: 1, width: 200 });
});

await step("a new version reloads the page that asked for it", async () => {
  console.log("publish");
  await page.waitForSelector("#new");
});

await step("a single-page application keeps its routes", async () => {
  await page.goto(`${task.site}/some/route`);
  assert.equal(await page.textContent("#route"), "/some/route");
});

await step("a service worker answers", async () => {
  await page.goto(`${task.site}/`);
  const text = await page.evaluate(async () => {
    await navigator.serviceWorker.register("/worker.js");
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) {
      await new Promise((done) => navigator.serviceWorker.addEventListener("controllerchange", done));
    }
    return (await fetch("/from-worker")).text();
  });
  assert.equal(text, "made by the worker");
});

await step("sound plays and seeks", async () => {
  await page.goto(`${task.site}/`);
  const state = await page.evaluate(async () => {
    const audio = new Audio("/sound.wav");
    audio.muted = true;
    await new Promise((done, failed) => {
      audio.oncanplay = done;
      audio.onerror = () => failed(new Error(`media error ${audio.error.code}`));
    });
    audio.currentTime = 50;
    await new Promise((done) => (audio.onseeked = done));
    return { duration: Math.round(audio.duration), at: Math.round(audio.currentTime) };
  });
  assert.deepEqual(state, { duration: 60, at: 50 });
});

await step("a video plays and seeks", async () => {
  // Three seconds that change from red to blue in the middle, recorded by the browser itself.
  const recorded = await page.evaluate(async () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const ink = canvas.getContext("2d");
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/webm;codecs=vp8" });
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((done) => (recorder.onstop = done));
    const begun = performance.now();
    const paint = setInterval(() => {
      ink.fillStyle = performance.now() - begun < 1500 ? "rgb(255, 0, 0)" : "rgb(0, 0, 255)";
      ink.fillRect(0, 0, 64, 64);
    }, 20);
    recorder.start();
    await new Promise((done) => setTimeout(done, 3000));
    recorder.stop();
    await stopped;
    clearInterval(paint);
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  });
  await writeFile(path.join(task.folder, "video.webm"), Buffer.from(recorded, "latin1"));
  console.log("publish video");
  await page.waitForFunction(async () => (await fetch("/video.webm", { method: "HEAD" })).status === 200);
  await page.goto(`${task.site}/`);
  const seen = await page.evaluate(async () => {
    const video = document.createElement("video");
    video.muted = true;
    document.body.append(video);
    const on = (name) => new Promise((done) => video.addEventListener(name, done, { once: true }));
    const failed = new Promise((_, fail) => {
      video.onerror = () => fail(new Error(`media error ${video.error.code}: ${video.error.message}`));
    });
    const within = (what) => Promise.race([what, failed]);
    video.src = "/video.webm";
    await within(on("canplay"));
    await video.play();
    while (video.currentTime < 0.3) await within(on("timeupdate"));
    const played = video.currentTime;
    video.pause();
    const colour = () => {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 1;
      const ink = canvas.getContext("2d");
      ink.drawImage(video, 0, 0, 1, 1);
      const [red, , blue] = ink.getImageData(0, 0, 1, 1).data;
      return red > blue ? "red" : "blue";
    };
    const seek = async (time) => {
      const done = on("seeked");
      video.currentTime = time;
      await within(done);
      return colour();
    };
    return { played: played >= 0.3, late: await seek(2.5), early: await seek(0.5), again: await seek(2.2) };
  });
  assert.deepEqual(seen, { played: true, late: "blue", early: "red", again: "blue" });
});

await step("two sites share no storage and no cookies", async () => {
  await page.goto(`${task.site}/`);
  await page.evaluate(() => {
    localStorage.setItem("secret", "1");
    document.cookie = "parent=1; domain=p2p.localhost";
  });
  const other = await context.newPage();
  await other.goto(`${task.other}/`);
  assert.equal(await other.evaluate(() => localStorage.getItem("secret")), null);
  await other.close();
});

await step("a site cannot read, frame or probe another, nor the dashboard", async () => {
  await page.goto(`${task.site}/`);
  for (const target of [task.other, task.dashboard]) {
    const seen = await page.evaluate(async (target) => {
      const fetched = await fetch(`${target}/`).then((answer) => answer.status, () => "refused");
      const opaque = await fetch(`${target}/`, { mode: "no-cors" }).then((answer) => answer.type, () => "refused");
      const posted = await fetch(`${target}/drives/share`, { method: "POST", body: "path=/" }).then(
        (answer) => answer.status,
        () => "refused",
      );
      const image = await new Promise((done) => {
        const image = new Image();
        image.onload = () => done("loaded");
        image.onerror = () => done("refused");
        image.src = `${target}/icon.svg`;
      });
      const script = await new Promise((done) => {
        const script = document.createElement("script");
        script.onload = () => done("loaded");
        script.onerror = () => done("refused");
        script.src = `${target}/live.js`;
        document.head.append(script);
      });
      return { fetched, opaque, posted, image, script };
    }, target);
    const refused = "refused";
    assert.deepEqual(seen, { fetched: refused, opaque: refused, posted: refused, image: refused, script: refused });
    const framed = await page.evaluate(async (target) => {
      const frame = document.createElement("iframe");
      frame.src = `${target}/`;
      document.body.append(frame);
      await new Promise((done) => (frame.onload = done));
      try {
        return frame.contentDocument ? "readable" : "closed";
      } finally {
        frame.remove();
      }
    }, target);
    assert.equal(framed, "closed");
  }
});

await step("a page of the web cannot probe, but can link", async () => {
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><a id=link href="${task.other}/">link</a>`);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const web = await context.newPage();
  await web.goto(`http://127.0.0.1:${server.address().port}/`);
  const image = (target) =>
    web.evaluate(
      (target) =>
        new Promise((done) => {
          const image = new Image();
          image.onload = () => done("loaded");
          image.onerror = () => done("refused");
          image.src = target;
        }),
      target,
    );
  assert.equal(await image(`${task.site}/assets/picture.svg`), "refused");
  await web.click("#link");
  await web.waitForURL(`${task.other}/`);
  assert.equal(await web.title(), "Other");
  await web.close();
  server.close();
});

await step("a site does not reach other servers of this computer, but links to other sites", async () => {
  const server = createServer((_, response) => {
    response.setHeader("access-control-allow-origin", "*");
    response.end("reached");
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  await page.goto(`${task.site}/`);
  const address = `http://127.0.0.1:${server.address().port}/`;
  const seen = await page.evaluate((address) => fetch(address).then((answer) => answer.text(), () => "refused"), address);
  assert.equal(seen, "refused");
  server.close();
  await page.evaluate((target) => {
    const link = document.createElement("a");
    link.href = target;
    link.id = "away";
    link.textContent = "away";
    document.body.append(link);
  }, `${task.other}/`);
  await page.click("#away");
  await page.waitForURL(`${task.other}/`);
});

const sizes = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
let isDark = false;

async function shoot(name) {
  for (const [size, viewport] of Object.entries(sizes)) {
    await page.setViewportSize(viewport);
    await page.evaluate(() => document.fonts.ready);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${name} is ${wide} px too wide for a ${size}`);
    const file = `${name}-${size}${isDark ? "-dark" : ""}.png`;
    await page.screenshot({ path: path.join(task.shots, file), fullPage: true });
  }
}

await step("nobody gets into the dashboard without an invitation", async () => {
  await page.goto(`${task.dashboard}/`);
  await page.waitForSelector("text=p2p open");
  await shoot("outside");
});

await step("the invitation leaves the address bar", async () => {
  await page.goto(task.enter);
  assert.equal(page.url(), `${task.dashboard}/`);
  await page.waitForSelector("text=Reachability");
});

const pages = {
  overview: "/",
  drives: "/drives",
  drive: `/drives/${task.drive}`,
  names: "/names",
  "names-resolved": "/names?name=docs.alice",
  "names-missing": "/names?name=nothing.alice",
  people: "/people",
  peers: "/peers",
  storage: "/storage",
  doctor: "/doctor",
};

await step("every page of the dashboard", async () => {
  for (const [name, address] of Object.entries(pages)) {
    await page.goto(task.dashboard + address);
    await page.waitForSelector('#live-state[data-state="on"]');
    await shoot(name);
  }
});

await step("every page in the dark", async () => {
  isDark = true;
  await page.emulateMedia({ colorScheme: "dark" });
  for (const [name, address] of Object.entries(pages)) {
    await page.goto(task.dashboard + address);
    await page.waitForSelector('#live-state[data-state="on"]');
    await shoot(name);
  }
  await page.emulateMedia({ colorScheme: "light" });
  isDark = false;
});

await step("everything has a name for screen readers, and the keyboard gets everywhere", async () => {
  for (const address of Object.values(pages)) {
    await page.goto(task.dashboard + address);
    const nameless = await page.evaluate(() => {
      const named = (element) =>
        element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.length > 0;
      return [...document.querySelectorAll("a, button, select, input:not([type=hidden])")]
        .filter((element) => !named(element))
        .map((element) => element.outerHTML);
    });
    assert.deepEqual(nameless, []);
    assert.equal(await page.locator("h1").count(), 1);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  }
});

await step("an identity and an invite are shown once, with a code to scan", async () => {
  await page.goto(`${task.dashboard}/names`);
  if (!(await page.locator("#zone-list .name").count())) {
    await page.fill("#zone-name", "me");
    await page.click("button:text-is(\"Make the zone\")");
  }
  await page.goto(`${task.dashboard}/people`);
  await page.fill("#identity-name", "Alice");
  await page.click("button:text-is(\"Make it\")");
  assert.equal(await page.locator("ol.words li").count(), 24);
  await shoot("people-words");
  await page.fill("#invite-name", "bob");
  await page.click("button:text-is(\"Make an invite\")");
  const code = await page.locator("svg.qr").boundingBox();
  assert.ok(code.width >= 200 && Math.abs(code.width - code.height) < 1, "the code is large and square");
  await shoot("people-invite");
  await page.goto(`${task.dashboard}/people`);
  assert.equal(await page.locator("svg.qr, ol.words").count(), 0);
  await shoot("people-known");
});

await step("a form that cannot be done says why and keeps what was typed", async () => {
  await page.goto(`${task.dashboard}/drives`);
  await page.fill("#share-path", "/nowhere/at all");
  await page.click('form[action="/drives/share"] button');
  await page.waitForSelector('[role="alert"]');
  assert.equal(await page.inputValue("#share-path"), "/nowhere/at all");
  await shoot("drives-error");
});

await step("a path that is dropped fills the field", async () => {
  const drop = (type, text) =>
    page.evaluate(
      ([type, text]) => {
        const data = new DataTransfer();
        if (type) data.setData(type, text);
        const target = document.getElementById("share-path");
        target.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
        return { value: target.value, hint: document.getElementById("share-drop").textContent };
      },
      [type, text],
    );
  await page.goto(`${task.dashboard}/drives`);
  assert.equal((await drop("text/uri-list", "# comment\r\nfile:///home/ada/my%20site\r\n")).value, "/home/ada/my site");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Share");
  assert.equal((await drop("text/plain", " /srv/site ")).value, "/srv/site");
  assert.match((await drop("", "")).hint, /does not say where/);
});

await step("names are made, set, resolved and removed", async () => {
  await page.goto(`${task.dashboard}/names`);
  await page.fill("#zone-name", "bob");
  await page.press("#zone-name", "Enter");
  await page.waitForSelector("#zone-list >> text=bob");
  await page.selectOption("#set-zone", "bob");
  await page.fill("#set-label", "www");
  await page.fill("#set-type", "a");
  await page.fill("#set-value", "192.0.2.9");
  await page.press("#set-value", "Enter");
  await page.waitForSelector("#record-list >> text=www.bob");
  await page.fill("#resolve-name", "www.bob");
  await page.press("#resolve-name", "Enter");
  await page.waitForSelector(".result >> text=192.0.2.9");
  await page.click('button[aria-label="Remove A of www.bob"]');
  await page.waitForURL(`${task.dashboard}/names`);
  assert.equal(await page.locator("#record-list >> text=www.bob").count(), 0);
  await page.selectOption("#set-zone", "bob");
  await page.fill("#set-label", "www");
  await page.fill("#set-type", "A");
  await page.fill("#set-value", "no address");
  await page.press("#set-value", "Enter");
  await page.waitForSelector('[role="alert"]');
  assert.equal(await page.inputValue("#set-value"), "no address");
  await shoot("names-error");
});

await step("sharing shows up by itself", async () => {
  const watching = await context.newPage();
  await watching.goto(`${task.dashboard}/drives`);
  await watching.waitForSelector('#live-state[data-state="on"]');
  await page.goto(`${task.dashboard}/drives`);
  await page.fill("#share-path", task.share);
  await page.press("#share-path", "Enter");
  await watching.waitForSelector("#transfers .badge.good");
  await watching.close();
  await page.goto(`${task.dashboard}/drives`);
  await shoot("drives-done");
});

await step("what runs has a bar, and can be stopped", async () => {
  await page.fill("#share-path", task.slow);
  await page.press("#share-path", "Enter");
  await page.waitForSelector("progress[value]");
  await shoot("drives-running");
  await page.goto(`${task.dashboard}/`);
  await page.waitForSelector("#running progress");
  await page.click("#running button");
  await page.waitForURL(`${task.dashboard}/drives`);
  await page.waitForSelector("#transfers .badge.dim");
});

await step("without a script every page is still read", async () => {
  const plain = await chromium.launchPersistentContext(`${task.profile}/plain`, {
    executablePath: task.chromium,
    args: flags,
    headless: true,
    javaScriptEnabled: false,
  });
  await plain.addCookies(await context.cookies(task.dashboard));
  const reader = await plain.newPage();
  for (const address of Object.values(pages)) {
    const answer = await reader.goto(task.dashboard + address);
    assert.equal(answer.status(), 200);
    assert.ok(await reader.locator("h1").isVisible());
    assert.equal(await reader.locator("button[data-copy]:visible").count(), 0, "a button that could do nothing");
    assert.ok(!(await reader.locator("#live-state").isVisible()));
  }
  await plain.close();
});

await step("an empty node", async () => {
  await page.goto(task.enter_empty);
  for (const [name, address] of [
    ["overview", "/"],
    ["drives", "/drives"],
    ["names", "/names"],
    ["peers", "/peers"],
    ["storage", "/storage"],
    ["doctor", "/doctor"],
  ]) {
    await page.goto(task.empty + address);
    await shoot(`empty-${name}`);
  }
});

await step("pages of a site for people", async () => {
  await page.goto(`${task.other}/notes/`);
  await shoot("site-folder");
  await page.goto(`${task.other}/missing`);
  await shoot("site-missing");
});

assert.deepEqual(outside, [], "nothing was asked of anybody else");
await context.close();
