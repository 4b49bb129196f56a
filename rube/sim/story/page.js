"use strict";
// The page of a run. Events are columns of typed arrays, by their place in the order in which they happened. What is drawn is
// only what is in view, and of several messages that would cover the same pixels one.
(() => {
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const N = data.t.length, H = data.hosts.length, END = Math.max(1, data.end);
const time = new Float64Array(N), host = Int16Array.from(data.h), kind = Uint8Array.from(data.k), text = Uint32Array.from(data.s), other = Int32Array.from(data.o);
for (let i = 0, at = 0; i < N; i++) time[i] = at += data.t[i];
const KIND = Object.fromEntries(data.kinds.map((name, place) => [name, place]));
const KIND_WORDS = {send: "messages", deliver: "messages", unit: "units", decide: "decisions", process: "processes", fault: "faults", disk: "disk writes", leads: "leaders"};
const LONG = 5e7; // ns; messages that take longer are looked for apart
const long = [], lost = [];
for (let i = 0; i < N; i++) if (kind[i] === KIND.send) { if (other[i] >= 0 && time[other[i]] - time[i] > LONG) long.push(i); }
const LANE_TOP = 24, UNIT_PX = 4, UNITS_MAX = 24, STEPS_PX = 34, REVISIONS_PX = 46, AXIS_PX = 22, ROW = 22, MIN_SPAN = 2e3;

const hidden = {hosts: new Set(), kinds: new Set(["disk"])};
const view = {a: 0, b: END};
let chosen = -1, past = null, spine = [], pastWord = "", query = "", match = null, shown = [], pinAt = -1, frame = 0;

const seconds = (ns, digits = 3) => (ns / 1e9).toFixed(digits) + "s";
const css = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
let color = {};
const readColors = () => { for (const name of ["bg", "fg", "dim", "line", "panel", "lane", "accent", "send", "lost", "unit", "decide", "process", "fault", "disk", "leads", "band", "pin", "past"]) color[name] = css(name); };
const element = (tag, attributes = {}, ...children) => { const made = document.createElement(tag); for (const [key, value] of Object.entries(attributes)) key === "on" ? made.addEventListener("click", value) : key in made ? made[key] = value : made.setAttribute(key, value); made.append(...children); return made; };

// The units of each host, a row each.
const rows = data.hosts.map(() => new Map());
for (const [h, name] of data.units) if (!rows[h].has(name)) rows[h].set(name, rows[h].size);
const groups = [...new Set(data.reigns.map(reign => reign[0]))];
const lane = []; // by host: top, height
let height = 0;
const layout = () => {
  height = AXIS_PX + STEPS_PX + (data.commits.length ? REVISIONS_PX : 0) + groups.length * 20;
  for (let h = 0; h < H; h++) {
    if (hidden.hosts.has(h)) { lane[h] = null; continue; }
    const tall = LANE_TOP + 14 + Math.min(rows[h].size, UNITS_MAX) * UNIT_PX + 8;
    lane[h] = {top: height, height: tall, y: height + LANE_TOP - 4};
    height += tall;
  }
};

// Filters
const matching = () => {
  const wanted = query.toLowerCase().split(/\s+/).filter(Boolean);
  match = wanted.length ? Uint8Array.from(data.texts, told => { const lower = told.toLowerCase(); return wanted.every(word => lower.includes(word)) ? 1 : 0; }) : null;
};
const isShown = i => !hidden.kinds.has(data.kinds[kind[i]]) && (host[i] < 0 || !hidden.hosts.has(host[i])) && (!match || match[text[i]]) && (!past || !$("only").checked || past[i]);
const refilter = () => {
  shown = [];
  for (let i = 0; i < N; i++) if (isShown(i)) shown.push(i);
  $("count").textContent = `${shown.length.toLocaleString("en")} of ${N.toLocaleString("en")} events`;
  $("spacer").style.height = shown.length * ROW + "px";
  drawList(); draw(); drawOverview();
};

// Causes: one pass over the places, since a cause has a smaller place than its effect.
const pastOf = place => {
  const newest = new Int32Array(H + 1).fill(-1), found = new Uint8Array(N);
  newest[host[place] + 1] = place;
  for (let i = place; i >= 0; i--) {
    if (i > newest[host[i] + 1]) continue;
    found[i] = 1;
    if (kind[i] === KIND.deliver && other[i] >= 0) { const h = host[other[i]] + 1; if (other[i] > newest[h]) newest[h] = other[i]; }
  }
  return found;
};
const futureOf = place => {
  const oldest = new Int32Array(H + 1).fill(N), found = new Uint8Array(N);
  oldest[host[place] + 1] = place;
  for (let i = place; i < N; i++) {
    const h = host[i] + 1;
    if (kind[i] === KIND.deliver && other[i] >= 0 && other[i] >= oldest[host[other[i]] + 1] && i < oldest[h]) oldest[h] = i;
    if (i >= oldest[h]) found[i] = 1;
  }
  return found;
};
// The last chain of messages that reached a place; those about the named objects are preferred.
const chainTo = (place, names) => {
  const found = [];
  const about = i => names.some(name => data.texts[text[i]].includes(name));
  for (let at = place, hops = 0; hops < 16; hops++) {
    let best = -1;
    for (let i = at, looked = 0; i >= 0 && looked < 4000; i--) {
      if (host[i] !== host[at] || kind[i] !== KIND.deliver || other[i] < 0 || host[other[i]] === host[i]) continue;
      looked++;
      if (names.length && about(i)) { best = i; break; }
      if (best < 0) { best = i; if (!names.length) break; }
    }
    if (best < 0) break;
    found.push(other[best]);
    at = other[best];
  }
  return found;
};
const showCauses = (found, word, chain) => {
  past = found; spine = chain; pastWord = word;
  $("pastonly").hidden = !found;
  if (found) $("pastonly").lastChild.textContent = ` only the ${word}`; else $("only").checked = false;
  refilter();
};

// Drawing
let canvas = $("canvas"), overview = $("overview"), width = 0, gutter = 110;
const X = at => gutter + (at - view.a) / (view.b - view.a) * (width - gutter - 8);
const T = x => view.a + (x - gutter) / (width - gutter - 8) * (view.b - view.a);
const firstAt = (at, column = null) => { let low = 0, high = column ? column.length : N; while (low < high) { const middle = (low + high) >> 1; (column ? time[column[middle]] : time[middle]) < at ? low = middle + 1 : high = middle; } return low; };
const sized = (made, tall) => {
  const ratio = window.devicePixelRatio || 1, wide = made.clientWidth || made.parentElement.clientWidth;
  if (made.width !== Math.round(wide * ratio) || made.height !== Math.round(tall * ratio)) { made.width = Math.round(wide * ratio); made.height = Math.round(tall * ratio); made.style.height = tall + "px"; }
  const brush = made.getContext("2d"); brush.setTransform(ratio, 0, 0, ratio, 0, 0); brush.clearRect(0, 0, wide, tall);
  return [brush, wide];
};
const draw = () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; paint(); }); };
const stateColor = state => state === "active" ? color.unit : state === "failed" ? color.fault : /ing$/.test(state) ? color.process : color.disk;
const clipText = (brush, told, x, y, room) => { if (room < 14) return; let cut = told; if (brush.measureText(cut).width > room) { const part = Math.max(1, Math.floor(cut.length * room / brush.measureText(cut).width) - 1); cut = cut.slice(0, part) + "…"; } brush.fillText(cut, x, y); };

const paint = () => {
  const began = performance.now();
  layout();
  const brush = (([made, wide]) => { width = wide; return made; })(sized(canvas, Math.max(height + 6, $("lanes").clientHeight - 1)));
  gutter = width < 560 ? 78 : 116;
  brush.font = "12px system-ui,'DejaVu Sans',sans-serif"; brush.textBaseline = "middle";
  paintAxis(brush); paintSteps(brush);
  let top = AXIS_PX + STEPS_PX;
  for (const group of groups) { paintReigns(brush, group, top); top += 20; }
  if (data.commits.length) paintRevisions(brush, top);
  for (let h = 0; h < H; h++) if (lane[h]) paintLane(brush, h);
  brush.save(); brush.beginPath(); brush.rect(gutter, 0, width - gutter, height); brush.clip();
  const drawn = paintMessages(brush) + paintMarks(brush);
  paintPins(brush); paintChosen(brush);
  brush.restore();
  document.documentElement.dataset.drawn = drawn;
  document.documentElement.dataset.paintMs = (performance.now() - began).toFixed(1);
};
const ticks = () => {
  const span = view.b - view.a, wanted = span / Math.max(2, (width - gutter) / 110), power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(candidate => candidate >= wanted), found = [];
  for (let at = Math.ceil(view.a / step) * step; at <= view.b; at += step) found.push(at);
  return [found, Math.max(0, Math.min(9, 9 - Math.floor(Math.log10(step))))];
};
const paintAxis = brush => {
  const [found, digits] = ticks();
  brush.fillStyle = color.dim; brush.strokeStyle = color.line; brush.lineWidth = 1; brush.textAlign = "center";
  for (const at of found) { const x = X(at); brush.beginPath(); brush.moveTo(x, AXIS_PX); brush.lineTo(x, height); brush.stroke(); if (x > gutter + 18 && x < width - 24) brush.fillText(seconds(at, digits), x, 11); }
  brush.textAlign = "left"; brush.fillText("virtual time", 8, 11);
};
const name = (brush, told, y, strong) => { brush.fillStyle = strong ? color.fg : color.dim; brush.font = (strong ? "600 " : "") + "12px system-ui,'DejaVu Sans',sans-serif"; clipText(brush, told, 8, y, gutter - 12); brush.font = "12px system-ui,'DejaVu Sans',sans-serif"; };
const paintSteps = brush => {
  name(brush, "scenario", AXIS_PX + 14);
  let free = -1e9;
  const visible = data.steps.filter(([at]) => at >= view.a && at <= view.b);
  visible.forEach(([at, told], place) => {
    const x = X(at), next = place + 1 < visible.length ? X(visible[place + 1][0]) : width;
    brush.fillStyle = color.accent; brush.beginPath(); brush.arc(x, AXIS_PX + 14, 3, 0, 7); brush.fill();
    if (x < free) return;
    const room = Math.min(width - 8, next) - x - 12;
    if (room < 42) return;
    brush.fillStyle = color.fg; brush.font = "11px system-ui,'DejaVu Sans',sans-serif"; clipText(brush, told, x + 6, AXIS_PX + 14, room);
    free = x + 10 + Math.min(room, brush.measureText(told).width);
  });
};
const paintReigns = (brush, group, top) => {
  name(brush, "leader", top + 10);
  const its = data.reigns.filter(reign => reign[0] === group);
  its.forEach(([, at, h, term], place) => {
    const until = place + 1 < its.length ? its[place + 1][1] : END, left = Math.max(gutter, X(at)), right = Math.min(width, X(until));
    if (right < gutter || left > width) return;
    brush.globalAlpha = place % 2 ? .28 : .45; brush.fillStyle = color.leads; brush.fillRect(left, top + 2, Math.max(1, right - left - 1), 15); brush.globalAlpha = 1;
    brush.fillStyle = color.fg; brush.font = "11px system-ui,'DejaVu Sans',sans-serif"; clipText(brush, `${h < 0 ? "?" : data.hosts[h]} leads ${group}, term ${term}`, left + 4, top + 10, right - left - 6);
  });
};
const paintRevisions = (brush, top) => {
  name(brush, "revision", top + 16);
  const low = data.commits[0][1], high = Math.max(low + 1, ...data.commits.slice(-1).map(commit => commit[1])), bottom = top + REVISIONS_PX - 8;
  const Y = revision => bottom - (revision - low) / (high - low) * (REVISIONS_PX - 16);
  brush.save(); brush.beginPath(); brush.rect(gutter, top, width - gutter, REVISIONS_PX); brush.clip();
  brush.strokeStyle = color.accent; brush.lineWidth = 1.4; brush.beginPath();
  let y = Y(low), drawnX = -1; brush.moveTo(X(0), y);
  for (const [at, revision] of data.commits) { const x = X(at), next = Y(Math.max(revision, low)); if (x - drawnX > .5 || x > width) { brush.lineTo(x, y); drawnX = x; } y = next; brush.lineTo(x, y); if (x > width) break; }
  brush.lineTo(Math.max(X(END), drawnX), y); brush.stroke(); brush.restore();
  brush.fillStyle = color.dim; brush.font = "11px system-ui,'DejaVu Sans',sans-serif"; brush.fillText(String(high), 8, top + 32);
};
const paintLane = (brush, h) => {
  const its = lane[h];
  brush.fillStyle = h % 2 ? color.bg : color.lane; brush.globalAlpha = .75; brush.fillRect(0, its.top, width, its.height); brush.globalAlpha = 1;
  name(brush, data.hosts[h], its.top + 14, true);
  brush.save(); brush.beginPath(); brush.rect(gutter, its.top, width - gutter, its.height); brush.clip();
  let depth = 0, before = -1;
  for (const [at, from, until, told] of data.bands) {
    if (at !== h || until < view.a || from > view.b) continue;
    const left = Math.max(gutter - 2, X(from)), right = Math.max(left + 1.5, Math.min(width, X(until)));
    depth = left < before ? depth + 1 : 0; before = Math.max(before, right);
    brush.fillStyle = color.band; brush.fillRect(left, its.top, right - left, its.height);
    brush.fillStyle = color.fault; brush.fillRect(left, its.top, right - left, 2);
    brush.font = "11px system-ui,'DejaVu Sans',sans-serif"; clipText(brush, told, left + 3, its.top + its.height - 7 - depth % 2 * 11, right - left - 6);
  }
  brush.strokeStyle = color.line; brush.beginPath(); brush.moveTo(gutter, its.y); brush.lineTo(width, its.y); brush.stroke();
  for (const [at, unit, from, until, state] of data.units) {
    if (at !== h || until < view.a || from > view.b) continue;
    const row = rows[h].get(unit); if (row >= UNITS_MAX) continue;
    const left = Math.max(gutter, X(from)), right = Math.min(width, X(until));
    brush.fillStyle = stateColor(state); brush.globalAlpha = state === "active" ? .75 : 1; brush.fillRect(left, its.top + LANE_TOP + 4 + row * UNIT_PX, Math.max(1.2, right - left), UNIT_PX - 1.2);
  }
  brush.globalAlpha = 1; brush.restore();
};
const paintMessages = brush => {
  if (hidden.kinds.has("send")) return 0;
  const wide = Math.ceil(width) + 2, seen = wide * H * H < 4e6 ? new Uint8Array(wide * H * H) : new Set();
  const isNew = key => seen instanceof Set ? !seen.has(key) && !!seen.add(key) : !seen[key] && (seen[key] = 1);
  const plain = new Path2D(), strong = new Path2D(), crossed = new Path2D(), dense = (view.b - view.a) / (width - gutter) > 2e7;
  let count = 0;
  const one = i => {
    const from = lane[host[i]]; if (!from || match && !match[text[i]] || past && $("only").checked && !past[i]) return;
    const j = other[i], x1 = X(time[i]);
    if (j < 0) { if (j === -2 && x1 >= gutter && x1 <= width && isNew((x1 | 0) * H * H + host[i] * H + host[i])) { count++; crossed.moveTo(x1, from.y); crossed.lineTo(x1 + 5, from.y + 9); crossed.moveTo(x1 + 2, from.y + 9); crossed.lineTo(x1 + 8, from.y + 9); crossed.moveTo(x1 + 5, from.y + 6); crossed.lineTo(x1 + 5, from.y + 12); } return; }
    const to = lane[host[j]], x2 = X(time[j]); if (!to || to === from || x2 < gutter || x1 > width) return;
    const inPast = past && past[i] && past[j];
    if (!inPast && !isNew(Math.max(0, Math.min(wide - 1, x1 | 0)) * H * H + host[i] * H + host[j])) return;
    if (inPast && x2 - x1 < 1 && !isNew(Math.max(0, Math.min(wide - 1, x1 | 0)) * H * H + host[j] * H + host[i])) return;
    const path = inPast ? strong : plain; count++;
    path.moveTo(x1, from.y); path.lineTo(x2, to.y);
    if (x2 - x1 > 6) { const angle = Math.atan2(to.y - from.y, x2 - x1); path.moveTo(x2, to.y); path.lineTo(x2 - 7 * Math.cos(angle - .35), to.y - 7 * Math.sin(angle - .35)); path.moveTo(x2, to.y); path.lineTo(x2 - 7 * Math.cos(angle + .35), to.y - 7 * Math.sin(angle + .35)); }
  };
  for (let i = firstAt(view.a - LONG); i < N && time[i] <= view.b; i++) if (kind[i] === KIND.send) one(i);
  for (const i of long) if (time[i] < view.a - LONG && time[other[i]] >= view.a) one(i);
  brush.lineWidth = 1; brush.strokeStyle = color.send; brush.globalAlpha = past ? .16 : match ? .95 : dense ? .34 : .7; brush.stroke(plain); brush.globalAlpha = 1;
  brush.strokeStyle = color.past; brush.globalAlpha = dense ? .5 : .85; brush.stroke(strong); brush.globalAlpha = 1;
  brush.strokeStyle = color.lost; brush.stroke(crossed);
  brush.strokeStyle = color.past; brush.lineWidth = 3; brush.beginPath();
  for (const i of spine) { const from = lane[host[i]], to = lane[host[other[i]]]; if (from && to) { brush.moveTo(X(time[i]), from.y); brush.lineTo(X(time[other[i]]), to.y); } }
  brush.stroke(); brush.lineWidth = 1;
  return count;
};
const paintMarks = brush => {
  let count = 0;
  const last = new Map();
  for (let i = firstAt(view.a); i < N && time[i] <= view.b; i++) {
    const told = data.kinds[kind[i]]; if (kind[i] === KIND.send || kind[i] === KIND.deliver || !isShown(i)) continue;
    const x = X(time[i]), all = host[i] < 0, where = all ? null : lane[host[i]], key = host[i] * 16 + kind[i];
    if (!all && !where || x - (last.get(key) ?? -9) < 1.5) continue;
    last.set(key, x); count++;
    brush.fillStyle = color[told] || color.fg; brush.globalAlpha = past && !past[i] ? .25 : 1;
    if (all) { brush.globalAlpha = .3; brush.fillRect(x - .5, AXIS_PX + STEPS_PX, 1, height); continue; }
    const y = where.y;
    if (told === "decide") { brush.beginPath(); brush.moveTo(x, y - 4); brush.lineTo(x + 4, y); brush.lineTo(x, y + 4); brush.lineTo(x - 4, y); brush.fill(); }
    else if (told === "process") { brush.fillRect(x - 3, y - 3.5, 6, 7); }
    else if (told === "fault") { brush.beginPath(); brush.moveTo(x, y - 6); brush.lineTo(x + 5, y + 4); brush.lineTo(x - 5, y + 4); brush.fill(); }
    else if (told === "leads") { brush.beginPath(); brush.arc(x, y, 5, 0, 7); brush.fill(); }
    else if (told === "unit") { brush.fillRect(x - 1, y + 2, 2, 7); }
    else brush.fillRect(x - .5, y - 9, 1, 6);
  }
  brush.globalAlpha = 1;
  return count;
};
const paintPins = brush => {
  data.pins.forEach(([at, h, check], place) => {
    const x = X(at), where = h >= 0 && lane[h] ? lane[h].y : AXIS_PX + 14;
    brush.strokeStyle = brush.fillStyle = color.pin; brush.lineWidth = place === pinAt ? 2.5 : 1.4; brush.setLineDash(place === pinAt ? [] : [4, 3]); brush.beginPath(); brush.moveTo(x, AXIS_PX); brush.lineTo(x, height); brush.stroke(); brush.setLineDash([]); brush.lineWidth = 1;
    brush.beginPath(); brush.arc(x, where - 9, 6, 0, 7); brush.moveTo(x - 5, where - 6); brush.lineTo(x, where + 4); brush.lineTo(x + 5, where - 6); brush.fill();
    brush.font = "600 11px system-ui,'DejaVu Sans',sans-serif"; const wide = brush.measureText(check).width, left = x + 10 + wide > width ? x - 10 - wide : x + 10;
    if (place === pinAt || data.pins.length < 4) { brush.fillStyle = color.bg; brush.fillRect(left - 2, where - 17, wide + 4, 14); brush.fillStyle = color.pin; brush.fillText(check, left, where - 10); }
  });
};
const paintChosen = brush => {
  if (chosen < 0) return;
  const i = chosen, where = lane[host[i]], x = X(time[i]); if (!where) return;
  brush.strokeStyle = color.accent; brush.lineWidth = 2;
  const j = other[i]; if (j >= 0 && lane[host[j]]) { brush.beginPath(); brush.moveTo(x, where.y); brush.lineTo(X(time[j]), lane[host[j]].y); brush.stroke(); }
  brush.beginPath(); brush.arc(x, where.y, 7, 0, 7); brush.stroke(); brush.lineWidth = 1;
};
const drawOverview = () => {
  const [brush, wide] = sized(overview, 40), bins = new Uint32Array(Math.max(1, Math.floor(wide / 3)));
  for (const i of shown) bins[Math.min(bins.length - 1, Math.floor(time[i] / END * bins.length))]++;
  const high = Math.log1p(Math.max(1, ...bins));
  for (const [, from, until] of data.bands) { brush.fillStyle = color.band; brush.fillRect(from / END * wide, 0, Math.max(1, (until - from) / END * wide), 40); }
  brush.fillStyle = color.send; bins.forEach((count, place) => { const tall = Math.log1p(count) / high * 32; brush.fillRect(place * 3, 38 - tall, 2, tall); });
  brush.fillStyle = color.pin; for (const [at] of data.pins) brush.fillRect(at / END * wide - 1, 0, 2.5, 40);
  brush.strokeStyle = color.accent; brush.lineWidth = 2; const left = view.a / END * wide, right = view.b / END * wide; brush.strokeRect(left + 1, 1, Math.max(2, right - left - 2), 38);
};

// The list: only its visible rows are elements.
const list = $("list");
const drawList = () => {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4), many = Math.ceil(list.clientHeight / ROW) + 8;
  for (const row of list.querySelectorAll(".row")) row.remove();
  for (let place = first; place < Math.min(shown.length, first + many); place++) {
    const i = shown[place], told = data.texts[text[i]];
    const row = element("div", {className: "row" + (i === chosen ? " on" : "") + (past && past[i] ? " past" : ""), role: "option", title: told, on: () => choose(i, false)});
    row.style.top = place * ROW + "px";
    const who = element("i", {}, host[i] < 0 ? "all" : data.hosts[host[i]]); who.style.color = color[data.kinds[kind[i]]] || color.fg;
    row.append(element("b", {}, seconds(time[i], 6)), who, (other[i] === -2 ? "✗ " : "") + told);
    list.append(row);
  }
};
const placeOf = i => { let low = 0, high = shown.length; while (low < high) { const middle = (low + high) >> 1; shown[middle] < i ? low = middle + 1 : high = middle; } return low; };
const scrollTo = i => { list.scrollTop = Math.max(0, placeOf(i) * ROW - list.clientHeight / 2); drawList(); };

const choose = (i, scroll = true, go = true) => {
  chosen = i;
  if (i >= 0) {
    if (go && (time[i] < view.a || time[i] > view.b)) { const half = (view.b - view.a) / 2; setView(time[i] - half, time[i] + half); }
    if (scroll) scrollTo(i); else drawList();
  }
  describe(); draw(); link();
};
const describe = () => {
  const box = $("detail"); box.replaceChildren();
  if (chosen < 0) { box.append(element("span", {className: "dim"}, "Choose an event in the lanes or in the list.")); return; }
  const i = chosen, j = other[i], where = host[i] < 0 ? "all hosts" : data.hosts[host[i]], word = {send: "sends", deliver: "receives", decide: "", unit: "", process: "", fault: "fault:", disk: "disk:", leads: ""}[data.kinds[kind[i]]];
  box.append(element("div", {}, element("b", {}, `${seconds(time[i], 9)}  ${where} `), `${word} ${data.texts[text[i]]}`));
  if (j >= 0) box.append(element("div", {className: "dim"}, `under way for ${(Math.abs(time[j] - time[i]) / 1e6).toFixed(3)} ms`));
  if (j === -2) box.append(element("div", {className: "dim"}, "It never arrived."));
  const chips = element("div", {className: "chips"},
    element("button", {title: "c", on: () => causes(i)}, "what led here"), element("button", {title: "e", on: () => effects(i)}, "what it may have caused"), element("button", {title: "z", on: () => zoomTo(time[i], 2e7)}, "zoom"));
  if (j >= 0) chips.append(element("button", {title: "o", on: () => choose(j)}, "other end"));
  if (past) chips.append(element("button", {on: clear}, `clear the ${pastWord}`));
  box.append(chips);
};
const causes = (i, names = []) => { showCauses(pastOf(i), "causal past", chainTo(i, names)); describe(); scrollTo(i); };
const effects = i => { showCauses(futureOf(i), "effects", []); describe(); scrollTo(i); };
const clear = () => { pinAt = -1; showCauses(null, "", []); describe(); };
const pin = place => {
  if (!data.pins.length) return;
  pinAt = (place + data.pins.length) % data.pins.length;
  const [at, h, , , names] = data.pins[pinAt];
  let i = Math.min(N, firstAt(at + 1)) - 1;
  const start = i;
  while (i > 0 && h >= 0 && host[i] !== h) i--;
  if (i < 0) i = start;
  if (i < 0) return;
  chosen = i; causes(i, names);
  const far = spine.length ? time[spine[Math.min(spine.length, 6) - 1]] : at - 1e9, span = Math.max(4e6, Math.min(at - far, 4e9)) * 1.3;
  setView(at - span, at + span * .3); choose(i);
};

// Moving
const setView = (a, b) => {
  let span = Math.max(MIN_SPAN, Math.min(END * 1.02, b - a)), middle = (a + b) / 2;
  a = middle - span / 2; if (a < -END * .01) a = -END * .01; if (a + span > END * 1.01) a = END * 1.01 - span;
  view.a = a; view.b = a + span; draw(); drawOverview();
};
const zoom = (factor, at = (view.a + view.b) / 2) => setView(at - (at - view.a) * factor, at + (view.b - at) * factor);
const zoomTo = (at, span) => { setView(at - span / 2, at + span / 2); link(); };
const move = part => setView(view.a + part * (view.b - view.a), view.b + part * (view.b - view.a));

// Links to a moment
let linkTimer = 0, ownHash = "";
const link = () => { clearTimeout(linkTimer); linkTimer = setTimeout(() => {
  const parts = [`t=${((chosen >= 0 ? time[chosen] : (view.a + view.b) / 2) / 1e9).toFixed(9)}`];
  if (chosen >= 0 && host[chosen] >= 0) parts.push(`host=${encodeURIComponent(data.hosts[host[chosen]])}`);
  if (chosen >= 0) parts.push(`event=${chosen}`);
  parts.push(`span=${((view.b - view.a) / 1e9).toFixed(6)}`);
  if (query) parts.push(`q=${encodeURIComponent(query)}`);
  ownHash = "#" + parts.join("&"); try { history.replaceState(null, "", ownHash); } catch { /* a page in a frame without an origin */ }
}, 120); };
const follow = () => {
  if (!location.hash || location.hash === ownHash) return false;
  const asked = new URLSearchParams(location.hash.slice(1)), at = parseFloat(asked.get("t")) * 1e9;
  if (asked.has("q")) { $("search").value = query = asked.get("q"); matching(); refilter(); }
  if (asked.has("pin")) { pin(parseInt(asked.get("pin"), 10) || 0); return true; }
  if (!Number.isFinite(at)) return false;
  const span = parseFloat(asked.get("span")) * 1e9 || Math.min(END, 2e9), h = data.hosts.indexOf(asked.get("host"));
  setView(at - span / 2, at + span / 2);
  let i = parseInt(asked.get("event"), 10);
  if (!(i >= 0 && i < N && Math.abs(time[i] - at) < 1e3)) { i = Math.min(N, firstAt(at + 1)) - 1; while (i > 0 && h >= 0 && host[i] !== h) i--; }
  if (i >= 0) choose(i, true, false);
  return true;
};

// Pointers
const nearest = (x, y) => {
  let best = -1, least = 12;
  const reach = 10 / (width - gutter) * (view.b - view.a);
  for (let i = firstAt(T(x) - reach), looked = 0; i < N && time[i] <= T(x) + reach && looked < 3000; i++, looked++) {
    if (!isShown(i) || host[i] < 0 || !lane[host[i]]) continue;
    const far = Math.hypot(X(time[i]) - x, (lane[host[i]].y - y) * .7); if (far < least) { least = far; best = i; }
  }
  if (best >= 0) return best;
  const segment = i => { const j = other[i]; if (j < 0 || !isShown(i) || !lane[host[i]] || !lane[host[j]] || host[i] === host[j]) return; const x1 = X(time[i]), y1 = lane[host[i]].y, x2 = X(time[j]), y2 = lane[host[j]].y, part = Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2 || 1))), far = Math.hypot(x1 + part * (x2 - x1) - x, y1 + part * (y2 - y1) - y); if (far < least - 5) { least = far + 5; best = i; } };
  for (let i = firstAt(T(x) - LONG), looked = 0; i < N && time[i] <= T(x) + reach && looked < 20000; i++, looked++) if (kind[i] === KIND.send) segment(i);
  for (const i of long) segment(i);
  return best;
};
const under = (x, y) => {
  if (y >= AXIS_PX && y < AXIS_PX + STEPS_PX) { const near = data.steps.filter(([at]) => Math.abs(X(at) - x) < 8); return near.map(([at, told]) => `${seconds(at)} ${told}`).join("\n"); }
  for (let h = 0; h < H; h++) if (lane[h] && y >= lane[h].top && y < lane[h].top + lane[h].height) {
    const row = Math.floor((y - lane[h].top - LANE_TOP - 4) / UNIT_PX), at = T(x);
    const span = data.units.find(([its, unit, from, until]) => its === h && rows[h].get(unit) === row && from <= at && until >= at);
    if (span) return `${span[1]} is ${span[4]} on ${data.hosts[h]}, ${seconds(span[2])} to ${seconds(span[3])}`;
    const band = data.bands.find(([its, from, until]) => its === h && from <= at && until >= at);
    if (band) return `${data.hosts[h]}: ${band[3]}, ${seconds(band[1])} to ${seconds(band[2])}`;
  }
  return "";
};
const tip = (told, x, y) => { const box = $("tip"); box.hidden = !told; if (told) { box.textContent = told; box.style.whiteSpace = "pre-line"; box.style.left = Math.max(4, Math.min(x + 14, width - Math.min(380, box.offsetWidth) - 8)) + "px"; box.style.top = y + 58 - $("lanes").scrollTop + "px"; } };
const pointers = new Map(); let drag = null, pinch = 0;
const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener("pointerdown", event => { pointers.set(event.pointerId, event.clientX); canvas.setPointerCapture(event.pointerId); drag = {x: event.clientX, a: view.a, b: view.b, moved: false}; if (pointers.size === 2) pinch = Math.abs([...pointers.values()].reduce((one, two) => one - two)); });
canvas.addEventListener("pointermove", event => {
  const [x, y] = place(event);
  if (pointers.has(event.pointerId)) {
    pointers.set(event.pointerId, event.clientX);
    if (pointers.size === 2) { const now = Math.abs([...pointers.values()].reduce((one, two) => one - two)) || 1; if (pinch) zoom(pinch / now, T(x)); pinch = now; drag.moved = true; return; }
    if (Math.abs(event.clientX - drag.x) > 3) drag.moved = true;
    if (drag.moved) { const by = (drag.x - event.clientX) / (width - gutter) * (drag.b - drag.a); setView(drag.a + by, drag.b + by); }
    return;
  }
  const i = x > gutter ? nearest(x, y) : -1;
  tip(i >= 0 ? `${seconds(time[i], 6)} ${host[i] < 0 ? "" : data.hosts[host[i]]} ${data.texts[text[i]]}` : x > gutter ? under(x, y) : "", x, y);
});
const lift = event => { if (drag && !drag.moved && pointers.size === 1 && event.type === "pointerup") { const [x, y] = place(event), p = data.pins.findIndex(([at, h]) => Math.abs(X(at) - x) < 7 && Math.abs((h >= 0 && lane[h] ? lane[h].y : AXIS_PX + 14) - 9 - y) < 9), i = nearest(x, y); if (p >= 0) pin(p); else if (i >= 0) choose(i); } else link(); pointers.delete(event.pointerId); pinch = 0; };
canvas.addEventListener("pointerup", lift); canvas.addEventListener("pointercancel", lift); canvas.addEventListener("pointerleave", () => tip(""));
canvas.addEventListener("wheel", event => { const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY); if (sideways) move(event.deltaX / width); else if (event.shiftKey) return; else zoom(Math.exp(event.deltaY * .0016), T(place(event)[0])); event.preventDefault(); link(); }, {passive: false});
canvas.addEventListener("dblclick", event => zoom(.25, T(place(event)[0])));
const brushTo = event => { const box = overview.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * END, half = (view.b - view.a) / 2; setView(at - half, at + half); };
let brushFrom = null;
overview.addEventListener("pointerdown", event => { overview.setPointerCapture(event.pointerId); const box = overview.getBoundingClientRect(); brushFrom = (event.clientX - box.left) / box.width * END; if (view.b - view.a < END * .9) brushTo(event); });
overview.addEventListener("pointermove", event => { if (brushFrom === null) return; if (view.b - view.a < END * .9 && !event.shiftKey && brushFrom !== "new") { brushTo(event); return; } const box = overview.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * END; overview.dataset.to = at; });
overview.addEventListener("pointerup", event => { if (typeof brushFrom === "number" && overview.dataset.to) { const at = parseFloat(overview.dataset.to); if (Math.abs(at - brushFrom) > END * .002) setView(Math.min(at, brushFrom), Math.max(at, brushFrom)); } delete overview.dataset.to; brushFrom = null; link(); });

// Keys
const step = by => { if (!shown.length) return; const at = chosen < 0 ? placeOf(firstAt(view.a)) : placeOf(chosen) + by; choose(shown[Math.max(0, Math.min(shown.length - 1, at))]); };
document.addEventListener("keydown", event => {
  if (event.target.matches("input[type=search]")) { if (event.key === "Escape") { event.target.value = query = ""; matching(); refilter(); event.target.blur(); link(); } return; }
  if (event.ctrlKey || event.metaKey || event.altKey || $("helpbox").open) return;
  const keys = {ArrowLeft: () => move(-.15), ArrowRight: () => move(.15), "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1 / .6), 0: () => setView(0, END), j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    n: () => pin(pinAt + 1), p: () => pin(pinAt < 0 ? -1 : pinAt - 1), c: () => chosen >= 0 && causes(chosen), e: () => chosen >= 0 && effects(chosen), o: () => chosen >= 0 && other[chosen] >= 0 && choose(other[chosen]), z: () => chosen >= 0 && zoomTo(time[chosen], 2e7), "/": () => $("search").focus(), "?": () => $("helpbox").showModal(), Escape: () => { chosen = -1; clear(); draw(); }};
  const act = keys[event.key]; if (act) { event.preventDefault(); act(); link(); }
});

// What stands around the lanes
const chip = (told, tone, off, toggle) => { const made = element("button", {type: "button"}); if (tone) { const dot = element("i"); dot.style.background = `var(--${tone})`; made.append(dot); } made.append(told); made.setAttribute("aria-pressed", String(!off())); made.addEventListener("click", () => { toggle(); made.setAttribute("aria-pressed", String(!off())); refilter(); }); return made; };
const flip = (set, ...values) => values.forEach(value => set.has(value) ? set.delete(value) : set.add(value));
const header = () => {
  $("name").textContent = data.name; $("description").textContent = data.description;
  const bad = data.checks.filter(check => check.state === "violated").length, judged = data.checks.filter(check => check.state !== "open").length;
  $("verdict").textContent = bad ? `violated: ${bad} of ${judged} checks` : `passed: ${judged} checks hold`; $("verdict").classList.toggle("bad", bad > 0);
  $("facts").textContent = `${seconds(END, 1)} of virtual time · ${H} hosts · seed ${data.seed} · ${data.repeat}`;
  data.pins.forEach(([at, h, check, told], place) => $("pins").append(element("li", {}, element("button", {on: () => pin(place)}, element("b", {}, check + " "), told))));
  for (const told of [...new Set(data.kinds.map(one => KIND_WORDS[one] || one))]) { const its = data.kinds.filter(one => (KIND_WORDS[one] || one) === told); $("kinds").append(chip(told, its[0] === "deliver" ? "send" : its[0], () => hidden.kinds.has(its[0]), () => flip(hidden.kinds, ...its))); }
  data.hosts.forEach((told, h) => $("hosts").append(chip(told, "", () => hidden.hosts.has(h), () => flip(hidden.hosts, h))));
  if (H > 1) $("hosts").append(element("button", {type: "button", on: () => { const off = hidden.hosts.size > 0; hidden.hosts.clear(); if (!off) data.hosts.forEach((_, h) => hidden.hosts.add(h)); [...$("hosts").children].slice(0, H).forEach(made => made.setAttribute("aria-pressed", String(off))); refilter(); }}, "all / none"));
  const marks = [["message", "<path d='M2 3L18 13' stroke='var(--send)' stroke-width='1.5'/>"], ["message that never arrived", "<path d='M6 2l4 8M7 10h7M10 7v7' stroke='var(--lost)' stroke-width='1.5'/>"], ["fault", "<path d='M2 2h16v12H2z' fill='var(--band)'/><path d='M2 2h16v2H2z' fill='var(--fault)'/>"], ["fault at one moment", "<path d='M10 2l6 12H4z' fill='var(--fault)'/>"], ["unit active", "<path d='M2 6h16v4H2z' fill='var(--unit)'/>"], ["unit failed", "<path d='M2 6h16v4H2z' fill='var(--fault)'/>"], ["unit inactive", "<path d='M2 6h16v4H2z' fill='var(--disk)'/>"], ["decision of a controller", "<path d='M10 3l5 5-5 5-5-5z' fill='var(--decide)'/>"], ["process starts or ends", "<path d='M6 4h8v8H6z' fill='var(--process)'/>"], ["elected leader", "<circle cx='10' cy='8' r='5' fill='var(--leads)'/>"], ["violated check", "<circle cx='10' cy='6' r='5' fill='var(--pin)'/><path d='M6 9l4 7 4-7' fill='var(--pin)'/>"], ["causal past", "<path d='M2 3L18 13' stroke='var(--past)' stroke-width='3'/>"]];
  for (const [told, path] of marks) { const made = element("span"); made.innerHTML = `<svg width="20" height="16">${path}</svg>`; made.append(told); $("legend").append(made); }
  const marksOf = {passed: "✓", violated: "✗", open: "–"};
  $("checks").querySelector("summary").textContent = `Checks: ${judged - bad} of ${judged} hold`;
  for (const check of data.checks) { const made = element("li", {className: check.state}, `${marksOf[check.state]} ${check.check}: ${check.text}`); for (const line of check.offending) made.append(element("small", {}, line)); $("checks").querySelector("ul").append(made); }
};
// How long changes took from their commits to watches
const PHASE_WORDS = {before: "before faults", during: "during faults", after: "after faults"};
const milliseconds = ns => (ns / 1e6).toFixed(3);
const drawing = (tag, attributes, told = "") => { const made = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value); made.textContent = told; return made; };
const curves = its => {
  const WIDE = 900, TALL = 230, LEFT = 48, RIGHT = 14, TOP = 8, BOTTOM = 24, least = 1e3; // ns
  const values = its.flatMap(([, curve]) => curve).map(value => Math.max(least, value)), low = Math.floor(Math.log10(values.reduce((one, two) => Math.min(one, two)))), high = Math.max(low + 1, Math.ceil(Math.log10(values.reduce((one, two) => Math.max(one, two)))));
  const x = value => LEFT + (Math.log10(Math.max(least, value)) - low) / (high - low) * (WIDE - LEFT - RIGHT), y = share => TOP + (1 - share) * (TALL - TOP - BOTTOM);
  const made = drawing("svg", {viewBox: `0 0 ${WIDE} ${TALL}`, role: "img", "aria-label": "The share of changes that had arrived after each time, on a logarithmic scale"});
  for (let power = low; power <= high; power++) made.append(drawing("path", {d: `M${x(10 ** power)} ${TOP}V${TALL - BOTTOM}`, stroke: "var(--line)"}), drawing("text", {x: x(10 ** power), y: TALL - 8, "text-anchor": power === high ? "end" : "middle"}, `${10 ** (power - 6)} ms`));
  for (const share of [0, .5, .9, 1]) made.append(drawing("path", {d: `M${LEFT} ${y(share)}H${WIDE - RIGHT}`, stroke: "var(--line)"}), drawing("text", {x: LEFT - 6, y: y(share) + 4, "text-anchor": "end"}, `${share * 100} %`));
  for (const [phase, curve] of its) {
    let path = `M${x(curve[0])} ${y(0)}`;
    curve.forEach((value, place) => { path += `H${x(value).toFixed(1)}V${y((place + 1) / curve.length).toFixed(1)}`; });
    made.append(drawing("path", {class: phase, d: path, fill: "none", stroke: "var(--tone)", "stroke-width": 2}));
  }
  return made;
};
const showSlow = ([h, , , key, , committed, delivered]) => {
  let i = Math.min(N, firstAt(delivered + 1)) - 1;
  while (i > 0 && h >= 0 && host[i] !== h) i--;
  if (i < 0) return;
  chosen = i; causes(i, [key.split("/").slice(-2).join("/")]);
  const pad = Math.max(1e6, (delivered - committed) * .2);
  setView(committed - pad, delivered + pad); choose(i); $("stage").scrollIntoView();
};
const latency = () => {
  const {curves: its, rows: table, slowest} = data.latency, box = $("latency");
  box.hidden = !its.length; if (!its.length) return;
  box.querySelector("summary").textContent = `Watch latency: half within ${milliseconds(data.latency.all[0])} ms, all within ${milliseconds(data.latency.all[1])} ms`;
  const key = element("div", {className: "line dim"});
  for (const [phase] of its) key.append(element("span", {className: phase}, element("i"), PHASE_WORDS[phase]));
  box.querySelector(".plot").append(curves(its), key);
  const head = ["watcher", "phase", "changes", "p50", "p90", "p99", "max"], made = element("table", {}, element("tr", {}, ...head.map(told => element("th", {}, told))));
  for (const [watcher, phase, count, ...figures] of table) made.append(element("tr", {className: phase}, ...[watcher, "", count, ...figures.map(milliseconds)].map((told, place) => place === 1 ? element("td", {}, element("i"), phase) : element("td", {}, String(told)))));
  box.querySelector(".rows").append(made);
  for (const row of slowest) {
    const [, watcher, , what, revision, committed, delivered, took, phase] = row, span = Math.max(2e6, took * 1.4) / 1e9;
    const moment = `#t=${(delivered / 1e9).toFixed(9)}&host=${encodeURIComponent(watcher)}&span=${span.toFixed(6)}`;
    const made = element("a", {on: event => { event.preventDefault(); showSlow(row); }}, `${seconds(delivered, 6)} ${watcher}`); made.href = moment;
    box.querySelector("ol").append(element("li", {className: phase}, element("i"), made, ` ${what} @${revision} after ${milliseconds(took)} ms, committed at ${seconds(committed, 6)}`));
  }
};
const dress = theme => { document.documentElement.dataset.theme = theme; readColors(); };
const preferred = matchMedia("(prefers-color-scheme: dark)");
preferred.addEventListener("change", () => { dress(preferred.matches ? "dark" : "light"); refilter(); });
$("theme").addEventListener("click", () => { dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); refilter(); });
$("help").addEventListener("click", () => $("helpbox").showModal());
$("in").addEventListener("click", () => zoom(.6)); $("out").addEventListener("click", () => zoom(1 / .6)); $("all").addEventListener("click", () => setView(0, END));
$("search").addEventListener("input", event => { query = event.target.value; matching(); refilter(); link(); });
$("only").addEventListener("change", refilter);
list.addEventListener("scroll", drawList);
window.addEventListener("hashchange", follow);
new ResizeObserver(() => { draw(); drawOverview(); drawList(); }).observe($("stage"));
window.addEventListener("error", event => { document.documentElement.dataset.error = event.message; });

dress(preferred.matches ? "dark" : "light"); header(); latency(); describe(); layout(); refilter();
if (!follow() && data.pins.length) pin(0);
document.documentElement.dataset.events = N;
})();
