// A pad to draw on: what stands on it is the input of a model that takes grey pictures.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "./strings";
import type { Tensor } from "./types";

/** Height and width of the picture that a tensor holds, null when it does not look like one. */
export function pictureSize(tensor: Tensor | undefined): [number, number] | null {
  if (tensor === undefined || tensor.shape === null || !/^(float|double|half|uint8|int)/.test(tensor.dtype)) return null;
  const [, ...sizes] = tensor.shape;
  if (sizes.length === 1 && sizes[0] !== null && sizes[0] !== undefined) {
    const side = Math.sqrt(sizes[0]);
    return Number.isInteger(side) && side >= 8 && side <= 64 ? [side, side] : null;
  }
  const [height, width, channels] = sizes;
  const isGrey = sizes.length === 2 || (sizes.length === 3 && channels === 1);
  return isGrey && height && width && height >= 8 && width >= 8 && height <= 64 && width <= 64 ? [height, width] : null;
}

/** The values of a drawing in the shape that `tensor` has without its batch dimension. */
export function shaped(values: readonly number[], tensor: Tensor): unknown {
  const sizes = (tensor.shape ?? []).slice(1) as number[];
  const whole = tensor.dtype.includes("int");
  let level: unknown[] = values.map((value) => (whole ? Math.round(value * 255) : Math.round(value * 1000) / 1000));
  for (const size of sizes.slice(1).reverse()) {
    level = Array.from({ length: level.length / size }, (_, index) => level.slice(index * size, (index + 1) * size));
  }
  return level;
}

export function Pad(props: { size: [number, number]; onChange: (values: number[]) => void }): JSX.Element {
  const [height, width] = props.size;
  const canvas = useRef<HTMLCanvasElement>(null);
  const values = useRef<number[]>([]);
  const last = useRef<[number, number] | null>(null);
  const clear = (): void => {
    values.current = Array.from({ length: height * width }, () => 0);
    paint(canvas.current, values.current, width);
    props.onChange(values.current);
  };
  useEffect(clear, [height, width]);
  const stroke = (event: PointerEvent): void => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined || last.current === null) return;
    const to: [number, number] = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    draw(values.current, width, height, last.current, to);
    last.current = to;
    paint(canvas.current, values.current, width);
  };
  const begin = (event: PointerEvent): void => {
    const box = canvas.current?.getBoundingClientRect();
    if (box === undefined) return;
    canvas.current?.setPointerCapture(event.pointerId);
    last.current = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    stroke(event);
  };
  const end = (): void => {
    if (last.current !== null) props.onChange([...values.current]);
    last.current = null;
  };
  return (
    <div class="pad">
      <canvas
        ref={canvas}
        width={width}
        height={height}
        role="img"
        aria-label={t("drawHere", { width, height })}
        onPointerDown={begin}
        onPointerMove={stroke}
        onPointerUp={end}
        onPointerCancel={end}
      />
      <button type="button" class="button" onClick={clear}>{t("clear")}</button>
    </div>
  );
}

/** A soft stroke from one point to another, about two pixels of a 28 by 28 picture wide. */
function draw(values: number[], width: number, height: number, from: [number, number], to: [number, number]): void {
  const radius = Math.max(width, height) / 20;
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 4));
  for (let step = 0; step <= steps; step++) {
    const x = from[0] + ((to[0] - from[0]) * step) / steps;
    const y = from[1] + ((to[1] - from[1]) * step) / steps;
    for (let row = Math.max(0, Math.floor(y - radius - 1)); row < Math.min(height, y + radius + 1); row++) {
      for (let column = Math.max(0, Math.floor(x - radius - 1)); column < Math.min(width, x + radius + 1); column++) {
        const distance = Math.hypot(column + 0.5 - x, row + 0.5 - y);
        const ink = Math.min(1, Math.max(0, radius + 0.5 - distance));
        const place = row * width + column;
        values[place] = Math.max(values[place] ?? 0, ink);
      }
    }
  }
}

function paint(canvas: HTMLCanvasElement | null, values: readonly number[], width: number): void {
  const context = canvas?.getContext("2d");
  if (!context || values.length === 0) return;
  const picture = context.createImageData(width, values.length / width);
  values.forEach((value, index) => picture.data.set([value * 255, value * 255, value * 255, 255], index * 4));
  context.putImageData(picture, 0, 0);
}
