// What pages do beyond HTML: times in the viewer's zone, live parts that do not
// disturb, announcements for screen readers, and plots. All pages work without.
"use strict";

document.documentElement.classList.add("script");

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function localTimes(root) {
  for (const t of root.querySelectorAll("time[datetime]")) {
    t.textContent = zone.format(new Date(t.dateTime));
  }
}

// announce tells screen readers the texts that differ from the last ones.
let said = null;
function announce(root) {
  const text = [...root.querySelectorAll("[data-announce]")].map((e) => e.dataset.announce).join(" ");
  if (said !== null && text !== said) document.getElementById("announcer").textContent = text;
  said = text;
}

const plots = [];
let latest = Date.now() / 1000; // the end of the hour that is drawn, in seconds

function drawPlots() {
  const places = document.querySelectorAll(".plot");
  if (!places.length || !window.uPlot) return;
  document.querySelector(".plots").hidden = false;
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const units = ["", "Ki", "Mi", "Gi", "Ti"];
  const short = (v, isBytes) => {
    if (v == null) return "–";
    let i = 0;
    if (isBytes) for (; v >= 1024 && i < units.length - 1; i++) v /= 1024;
    return (v >= 100 || Number.isInteger(v) ? Math.round(v) : +v.toPrecision(3)) + (isBytes ? " " + units[i] + "B" : "");
  };
  for (const place of places) {
    const names = place.dataset.series.split(","), labels = place.dataset.labels.split(","), isBytes = "bytes" in place.dataset;
    const axis = { stroke: () => color("--faint"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false } };
    const plot = new uPlot({
      width: place.clientWidth, height: 150, padding: [8, 8, 0, 0],
      scales: { x: { range: () => [latest - 3600, latest] }, y: { range: (_, lo, hi) => [0, Math.max(hi, 1)] } },
      axes: [{ ...axis, space: 70 }, { ...axis, size: 70, space: 28, ...(isBytes && { incrs: Array.from({ length: 50 }, (_, i) => 2 ** i) }), values: (_, vs) => vs.map((v) => short(v, isBytes)) }],
      series: [{ label: "at" }, ...names.map((_, i) => ({ label: labels[i], stroke: () => color("--plot-" + (i + 1)), width: 1.5, dash: [[], [6, 3], [2, 3]][i], points: { show: false }, value: (_, v) => short(v, isBytes) }))],
    }, [[], ...names.map(() => [])], place);
    plots.push({ plot, names, place });
  }
  const load = async () => {
    if (document.hidden) return;
    const r = await fetch(document.body.dataset.base + "history.json", { headers: { "HX-Request": "true" } }).catch(() => null);
    if (!r?.ok) return; // the live part tells about it
    const h = await r.json();
    latest = h.times.at(-1) ?? latest;
    for (const p of plots) p.plot.setData([h.times, ...p.names.map((n) => h.series[n])]);
  };
  load();
  setInterval(load, 10000);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const p of plots) p.plot.redraw();
  });
  addEventListener("resize", () => {
    for (const p of plots) p.plot.setSize({ width: p.place.clientWidth, height: 150 });
  });
}

localTimes(document);
announce(document);
drawPlots();

// A hidden page asks for nothing.
document.body.addEventListener("htmx:beforeRequest", (e) => {
  if (document.hidden && e.detail.requestConfig.verb === "get") e.preventDefault();
});
// A live part that cannot be fetched must not look as if it were up to date.
let fresh = new Date();
for (const event of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(event, () => {
    const stale = document.getElementById("stale");
    if (!stale.hidden) return;
    stale.textContent = "Not up to date: the gateway has not answered since " + zone.format(fresh) + ".";
    stale.hidden = false;
  });
}
// New content gets its times before anybody sees them.
document.body.addEventListener("htmx:afterSwap", () => {
  fresh = new Date();
  document.getElementById("stale").hidden = true;
  localTimes(document);
  announce(document);
});

document.querySelector("form[data-submit]")?.requestSubmit();
