// Requests a second and latencies of ten minutes, a line a version, so that a switch from one to the other is seen.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { useConsole } from "../context";
import { duration, rate } from "../format";
import { colour, Empty } from "../parts";
import { t } from "../strings";
import type { Snapshot } from "../types";

type Measure = "rate" | "p50" | "p99" | "errors";
const MEASURES: readonly Measure[] = ["rate", "p50", "p99", "errors"];
const SHOWN = 600;
const HEIGHT = 150;

interface Line {
  readonly model: string;
  readonly version: number;
}

export function Traffic({ snapshot }: { snapshot: Snapshot }): JSX.Element {
  const { store } = useConsole();
  const [model, setModel] = useState("");
  const names = snapshot.models.map((each) => each.name);
  const shown = names.includes(model) ? [model] : names;
  const lines = shown.flatMap((name) =>
    store.history
      .versions(name)
      .filter((version) => store.history.last(name, version, SHOWN).some((point) => point !== undefined && point.p50 !== null))
      .map((version) => ({ model: name, version })),
  );
  return (
    <div class="traffic">
      <div class="bar">
        <label class="field">
          <span>{t("model")}</span>
          <select value={names.includes(model) ? model : ""} onChange={(event) => setModel(event.currentTarget.value)}>
            <option value="">{t("allModels")}</option>
            {names.map((name) => (
              <option key={name} value={name}>{name}</option>
            ))}
          </select>
        </label>
        <span class="legend">
          {lines.slice(0, 12).map((each) => (
            <span key={`${each.model}/${each.version}`}>
              <span class={`swatch ${colour(each.version)}`} aria-hidden="true" /> {each.model} {each.version}
            </span>
          ))}
        </span>
      </div>
      {lines.length === 0 ? (
        <Empty title={t("noTraffic")} next={t("noTrafficNext")} />
      ) : (
        <div class="charts">
          {MEASURES.map((measure) => (
            <Chart key={measure} measure={measure} lines={lines} time={snapshot.time} />
          ))}
        </div>
      )}
    </div>
  );
}

function Chart({ measure, lines, time }: { measure: Measure; lines: readonly Line[]; time: number }): JSX.Element {
  const { store } = useConsole();
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const key = lines.map((each) => `${each.model}/${each.version}`).join();
  const data = (): uPlot.AlignedData => {
    const times = store.history.times.slice(-SHOWN);
    const values = lines.map((each) =>
      store.history.last(each.model, each.version, SHOWN).map((point) => point?.[measure] ?? (measure === "rate" || measure === "errors" ? 0 : null)),
    );
    return [times, ...values];
  };
  useEffect(() => {
    if (box.current === null) return undefined;
    const element = box.current;
    const made = new uPlot(options(measure, lines, element), data(), element);
    chart.current = made;
    const watcher = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [key, measure]);
  useEffect(() => chart.current?.setData(data()), [time]);
  return (
    <figure>
      <figcaption>{measure === "rate" ? t("perSecond") : t(measure)}</figcaption>
      <div ref={box} />
    </figure>
  );
}

/** The colour of a version as a canvas takes it, which knows no variables. */
function inkOf(element: HTMLElement, version: number): string {
  const probe = element.ownerDocument.createElement("span");
  probe.className = `ink ${colour(version)}`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function options(measure: Measure, lines: readonly Line[], element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const shown = (value: number): string => (measure === "p50" || measure === "p99" ? duration(value) : rate(value));
  const axis = { stroke: () => getComputedStyle(element).color, font: `11px ${style.fontFamily}`, grid: { stroke: "rgba(128,128,128,.18)", width: 1 }, ticks: { show: false } };
  return {
    width: Math.max(element.clientWidth, 200),
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, measure === "rate" || measure === "errors" ? 1 : 10)] } },
    axes: [
      { ...axis, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString("en-GB")), space: 90 },
      { ...axis, values: (_, splits) => splits.map(shown), size: 58 },
    ],
    series: [
      {},
      ...lines.map((each) => ({ stroke: inkOf(element, each.version), width: 1.5, points: { show: false }, label: `${each.model} ${each.version}` })),
    ],
  };
}
