// Requests a second of the last minute as an area, a colour a version, the newest on top.
import type { JSX } from "preact";
import type { History } from "./history";
import { colour } from "./parts";
import { rate } from "./format";
import { t } from "./strings";

const POINTS = 60;
const WIDTH = 120;
const HEIGHT = 22;

export function Sparkline({ history, model, only }: { history: History; model: string; only?: number }): JSX.Element {
  const versions = only === undefined ? history.versions(model) : [only];
  const lines = versions.map((version) => {
    const points = history.last(model, version, POINTS).map((point) => point?.rate ?? 0);
    return [...Array.from({ length: POINTS - points.length }, () => 0), ...points];
  });
  const sums = Array.from({ length: POINTS }, (_, index) => lines.reduce((sum, line) => sum + (line[index] ?? 0), 0));
  const most = Math.max(...sums, 1);
  let base = Array.from({ length: POINTS }, () => 0);
  const areas = versions.map((version, place) => {
    const top = base.map((value, index) => value + (lines[place]?.[index] ?? 0));
    const path = area(base, top, most);
    base = top;
    return <path key={version} class={`area ${colour(version)}`} d={path} />;
  });
  return (
    <svg
      class="sparkline"
      role="img"
      aria-label={`${t("perSecond")}: ${rate(sums.at(-1) ?? 0)}, max ${rate(Math.max(...sums))}`}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
    >
      <path class="floor" d={`M0 ${HEIGHT - 0.5}H${WIDTH}`} />
      {areas}
    </svg>
  );
}

function area(base: number[], top: number[], most: number): string {
  const x = (index: number): string => ((index / (POINTS - 1)) * WIDTH).toFixed(1);
  const y = (value: number): string => (HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1);
  const there = top.map((value, index) => `${x(index)} ${y(value)}`);
  const back = base.map((value, index) => `${x(index)} ${y(value)}`).reverse();
  return `M${there.join("L")}L${back.join("L")}Z`;
}
