"use strict";
(() => {
  const root = document.getElementById("participants");
  const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440];
  const kinds = { latency: "Latency, ms", jitter: "Jitter, ms", loss: "Loss, %", cpu: "CPU, %" };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16);

  // "audio_input,latency,3,126,,130;…": group, measurement, first column, a value for each column.
  const parse = (text) => text.split(";").filter(Boolean).map((line) => {
    const [group, kind, first, ...values] = line.split(",");
    return { group, kind, first: Number(first), values: values.map((value) => value === "" ? null : Number(value)) };
  });

  const chart = (box, kind, lines) => {
    const begin = Number(root.dataset.begin), step = Number(root.dataset.step), limit = Number(root.dataset[kind]);
    // With a column on both sides: uPlot would show a whole day for a single one.
    const from = Math.min(...lines.map((line) => line.first)) - 1;
    const to = Math.max(...lines.map((line) => line.first + line.values.length)) + 1;
    const times = Array.from({ length: to - from }, (_, column) => begin + (from + column) * step);
    const data = lines.map((line) => times.map((_, column) => line.values[from + column - line.first] ?? null));
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    caption.textContent = kinds[kind];
    figure.append(caption);
    box.append(figure);
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
    const series = lines.map((line, index) => ({
      label: line.group, stroke: css(`--line-${index % 6 + 1}`), width: 1.5,
      dash: line.group.endsWith("_output") ? [6, 3] : undefined, points: { size: 4 },
    }));
    series.push({ label: "limit", stroke: css("--text"), width: 1, dash: [2, 3], points: { show: false } });
    const make = () => new uPlot({
      width: figure.clientWidth, height: 190, tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      scales: { x: { time: true }, y: { range: (_, least, most) => [0, Math.max(most, limit) * 1.1 || 1] } },
      series: [{ label: "UTC", value: (_, time) => time === null ? "–" : clock(time) }, ...series],
      axes: [{ ...axis, incrs: minutes.map((each) => each * 60), values: (_, times) => times.map(clock) }, { ...axis, size: 48 }],
    }, [times, ...data, times.map(() => limit)], figure);
    const plot = make();
    new ResizeObserver(() => plot.setSize({ width: figure.clientWidth, height: 190 })).observe(figure);
  };

  const draw = (details) => {
    const box = details.querySelector(".lines");
    if (!box || box.childElementCount > 0) return;
    const lines = parse(box.dataset.lines);
    for (const kind of Object.keys(kinds)) {
      const ofKind = lines.filter((line) => line.kind === kind);
      if (ofKind.length > 0) chart(box, kind, ofKind);
    }
  };
  const redraw = () => {
    for (const box of document.querySelectorAll("details[open] .lines")) {
      box.replaceChildren();
      draw(box.closest("details"));
    }
  };
  if (root) {
    root.addEventListener("toggle", (event) => { if (event.target.open) draw(event.target); }, true);
    for (const details of root.querySelectorAll("details[open]")) draw(details);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  // A page in progress reloads itself, keeps what is open, and stops when its box is unchecked.
  const refresh = document.getElementById("refresh");
  if (!refresh) return;
  const box = refresh.querySelector("input"), key = `refresh ${location.href}`;
  const saved = JSON.parse(sessionStorage.getItem(key) ?? "{}");
  refresh.hidden = false;
  box.checked = !saved.stopped;
  for (const id of saved.open ?? []) document.getElementById(id)?.setAttribute("open", "");
  const chosen = saved.medium && document.querySelector(`input[name="medium"][value="${saved.medium}"]`);
  if (chosen) chosen.checked = true;
  const save = () => sessionStorage.setItem(key, JSON.stringify({
    stopped: !box.checked,
    open: Array.from(document.querySelectorAll("#participants details[open]"), (details) => details.id),
    medium: document.querySelector('input[name="medium"]:checked')?.value,
  }));
  box.addEventListener("change", save);
  const reload = () => {
    if (!box.checked) return void box.addEventListener("change", reload, { once: true });
    if (document.hidden) return void document.addEventListener("visibilitychange", reload, { once: true });
    save();
    location.reload();
  };
  setTimeout(reload, Number(refresh.dataset.seconds) * 1000);
})();
