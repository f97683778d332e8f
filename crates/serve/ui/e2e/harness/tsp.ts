// A real client of the Trace Server Protocol: the one that Trace Compass' extension of VS Code is made with.

import { type Experiment, HttpTspClient, type OutputDescriptor, QueryHelper, type TimeGraphEntry, type TimeGraphRow, type TspClientResponse } from "tsp-typescript-client";
import { type Kind, type Reader } from "./reader";
import type { Server } from "./server.mjs";

export const TSP = ["--tsp", "--port", "0"];

/** What a row is about. */
export interface Row {
  entry: TimeGraphEntry;
  kind: Kind;
  id: number;
  /** Of a process: on which vCPU. */
  vcpu: number;
}

/** The model of an answer that must be one. */
export function modelOf<T>(answer: TspClientResponse<T>): T {
  const model = answer.getModel();
  if (!answer.isOk() || !model) throw new Error(`${answer.getStatusCode()}: ${answer.getText()}`);
  return model;
}

/** The model of an answer that is a model with its status. */
export function completed<T>(answer: TspClientResponse<{ model: T; status: string }>): T {
  const { model, status } = modelOf(answer);
  if (status !== "COMPLETED") throw new Error(status);
  return model;
}

/** The state that a style is of. */
export const stateOf = (style: { parentKey?: string } | undefined) => style!.parentKey!.split(" ")[0]!;

/** The dataset as a client sees it. */
export class Seen {
  private constructor(
    readonly client: HttpTspClient,
    readonly experiment: Experiment,
    readonly outputs: OutputDescriptor[],
    /** Ticks a second; null: times are ticks. */
    readonly hz: number | null,
    private readonly first: bigint,
  ) {}

  static async by(server: Server, reader: Reader): Promise<Seen> {
    const client = new HttpTspClient(`${server.url}tsp/api`);
    const [experiment] = modelOf(await client.fetchExperiments());
    const outputs = modelOf(await client.experimentOutputs(experiment!.UUID));
    const { tsc_hz, first } = await reader.about();
    return new Seen(client, experiment!, outputs, tsc_hz, BigInt(first));
  }

  get uuid(): string {
    return this.experiment.UUID;
  }

  /** Ticks as a client has them: nanoseconds, or ticks. */
  long(ticks: number): number {
    return this.hz === null ? ticks : (ticks * 1e9) / this.hz;
  }

  /** A client's time as ticks since the first. */
  tick(time: bigint | number): number {
    const since = Number(BigInt(time) - (this.hz === null ? this.first : this.experiment.start));
    return this.hz === null ? since : (since * this.hz) / 1e9;
  }

  /** The rows of a time graph that have states. */
  async rows(output: string): Promise<Row[]> {
    const { entries } = completed(await this.client.fetchTimeGraphTree(this.uuid, output, QueryHelper.query()));
    const row = (entry: TimeGraphEntry): Row => {
      const of = (name: string) => (entry.metadata?.[name]?.[0] as number | undefined) ?? -1;
      const kind = of("process") >= 0 ? "process" : of("vcpu") >= 0 ? "vcpu" : "cpu";
      return { entry, kind, id: of(kind), vcpu: of("vcpu") };
    };
    return entries.filter((entry) => entry.hasData).map(row);
  }

  async states(output: string, rows: Row[], start: bigint, end: bigint, times: number): Promise<TimeGraphRow[]> {
    const query = QueryHelper.selectionTimeRangeQuery(start, end, times, rows.map(({ entry }) => entry.id));
    return completed(await this.client.fetchTimeGraphStates(this.uuid, output, query)).rows;
  }
}
