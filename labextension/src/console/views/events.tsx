// What happened, newest first, errors with their remedy.
import type { JSX } from "preact";
import { clock } from "../format";
import { Empty, ProblemText } from "../parts";
import { t } from "../strings";
import type { Moment, Snapshot } from "../types";

const STATES: Readonly<Record<string, string>> = {
  START: "start",
  LOADING: "loading",
  AVAILABLE: "available",
  UNLOADING: "unloading",
  END: "ended",
};

export function Events({ snapshot }: { snapshot: Snapshot }): JSX.Element {
  const events = snapshot.events.filter(matters);
  if (events.length === 0) return <Empty title={t("noEvents")} next={t("noEventsNext")} />;
  return (
    <ol class="events" reversed>
      {[...events].reverse().map((event, place) => (
        <li key={`${event.time}/${events.length - place}`}>
          <time>{clock(event.time)}</time>
          <span class={event.problem !== null ? "mark failed" : event.state === "AVAILABLE" ? "mark available" : "mark"} aria-hidden="true">
            {event.problem !== null ? "✗" : event.state === "AVAILABLE" ? "●" : "·"}
          </span>
          <span class="what">
            {sentence(event)}
            {event.problem !== null ? <ProblemText problem={event.problem} /> : null}
          </span>
        </li>
      ))}
    </ol>
  );
}

/** What merely says that something was begun or looked at is left out. */
function matters(event: Moment): boolean {
  return event.problem !== null || (event.state !== "START" && event.kind !== "storage");
}

function sentence(event: Moment): string {
  const model = event.model || "–";
  const refused = event.problem !== null;
  switch (event.kind) {
    case "version": {
      const state = refused ? t("failed") : t((STATES[event.state] ?? "missing") as "start");
      return t("evVersion", { model, version: event.version ?? "–", state });
    }
    case "replaced":
      return t("evReplaced", { model, version: event.version ?? "–" });
    case "config":
      return refused ? t("evConfigRefused") : t("evConfig");
    case "labels":
      return refused ? t("evLabelsRefused", { model }) : t("evLabels", { model });
    case "storage":
      return t("evStorage", { model });
    case "fetch":
      return t("evFetch", { model });
    case "logging":
      return t("evLogging", { model });
    default:
      return t("evServer", { what: event.message });
  }
}
