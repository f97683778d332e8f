// The Trace Server Protocol, as a real client of it speaks it: what it is told holds against the independent reader. No browser here.

import { HttpTspClient, QueryHelper, type TimeGraphState } from "tsp-typescript-client";
import { CAPTURES, analyzed, noisyNeighbour, scenario } from "../harness/datasets";
import { Random } from "../harness/random";
import { expect, test } from "../harness/test";
import { type Row, Seen, TSP, completed, modelOf, stateOf } from "../harness/tsp";

const overcommit = () => scenario("overcommit").dataset;
const datasets = [
  ...CAPTURES.map((capture) => ({ name: capture.name, dataset: () => analyzed(capture) })),
  { name: "noisy-neighbour", dataset: () => noisyNeighbour().dataset },
  { name: "overcommit", dataset: overcommit },
];
const GRAPHS = ["havana.resources", "havana.vms"];

const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);

/** How long the states of one name are, clipped to a range. */
function long(states: TimeGraphState[], name: string, from: bigint, to: bigint): number {
  const clipped = (state: TimeGraphState) => Number((state.end < to ? state.end : to) - (state.start > from ? state.start : from));
  return sum(states.filter((state) => stateOf(state.style) === name).map((state) => Math.max(0, clipped(state))));
}

test("the dataset is a trace and an experiment, which can be closed and opened again", async ({ serve }) => {
  const { url } = await serve(noisyNeighbour().dataset, TSP);
  const client = new HttpTspClient(`${url}tsp/api`);
  expect(modelOf(await client.checkHealth())).toEqual({ status: "UP" });
  expect(modelOf(await client.fetchIdentifier())).toMatchObject({ productId: "havana" });
  expect(modelOf(await client.fetchConfigurationSourceTypes())).toEqual([]);

  const [trace, ...traces] = modelOf(await client.fetchTraces());
  const [experiment, ...experiments] = modelOf(await client.fetchExperiments());
  expect([traces, experiments]).toEqual([[], []]);
  expect(trace!.UUID).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(experiment!.traces).toEqual([trace]);
  expect(modelOf(await client.fetchTrace(trace!.UUID))).toEqual(trace);
  expect(modelOf(await client.fetchExperiment(experiment!.UUID))).toEqual(experiment);

  // What VS Code does with a folder, whatever its path.
  const query = QueryHelper.query({ uri: "/no/such/path", name: "mine" });
  expect(modelOf(await client.openTrace(query))).toEqual(trace);
  const create = QueryHelper.query({ name: "mine", traces: [trace!.UUID] });
  expect(modelOf(await client.createExperiment(create))).toEqual(experiment);

  const inUse = await client.deleteTrace(trace!.UUID);
  expect([inUse.getStatusCode(), inUse.getErrorResponse()]).toMatchObject([409, { title: expect.stringContaining("experiment"), trace: { UUID: trace!.UUID } }]);
  expect(modelOf(await client.deleteExperiment(experiment!.UUID))).toEqual(experiment);
  expect(modelOf(await client.fetchExperiments())).toEqual([]);
  expect((await client.experimentOutputs(experiment!.UUID)).getStatusCode()).toBe(404);
  expect(modelOf(await client.deleteTrace(trace!.UUID))).toEqual(trace);
  expect(modelOf(await client.fetchTraces())).toEqual([]);
  // The trace is to be opened first.
  expect((await client.createExperiment(create)).getStatusCode()).toBe(204);
  expect(modelOf(await client.openTrace(query))).toEqual(trace);
  expect(modelOf(await client.createExperiment(create))).toEqual(experiment);
  expect(modelOf(await client.fetchExperiments())).toHaveLength(1);
});

test("outputs are described, and what there is not is an error in the protocol's form", async ({ serve, read }) => {
  const dataset = noisyNeighbour().dataset;
  const seen = await Seen.by(await serve(dataset, TSP), read(dataset));
  const { client, uuid } = seen;
  expect(seen.outputs.map(({ id, type }) => `${id} ${type}`)).toEqual([
    "havana.resources TIME_GRAPH",
    "havana.vms TIME_GRAPH",
    "havana.busy TREE_TIME_XY",
    "havana.exits TREE_TIME_XY",
    "havana.time DATA_TREE",
    "havana.findings TABLE",
  ]);
  expect(completed(await client.fetchMarkerSets(uuid))).toEqual([]);
  expect(modelOf(await client.fetchOutputConfigurationTypes(uuid, "havana.vms"))).toEqual([]);
  const all = QueryHelper.selectionTimeRangeQuery(seen.experiment.start, seen.experiment.end, 10, [0]);
  for (const [answer, status, title] of [
    [await client.fetchTimeGraphTree(uuid, "no.such", all), 404, "there is no output no.such"],
    [await client.fetchTimeGraphTree(uuid, "havana.exits", all), 404, "is no time graph"],
    [await client.fetchXY(uuid, "havana.vms", all), 404, "is no XY chart"],
    [await client.fetchTimeGraphTree("00000000-0000-0000-0000-000000000000", "havana.vms", all), 404, "there is no experiment"],
    [await client.fetchTimeGraphStates(uuid, "havana.vms", QueryHelper.query()), 400, "requested_timerange is missing"],
    [await client.fetchTimeGraphStates(uuid, "havana.vms", QueryHelper.timeRangeQuery(0n, 9n, 99_999)), 400, "nbTimes=99999 is not from 1 to 65536"],
    [await client.fetchTimeGraphStates(uuid, "havana.vms", QueryHelper.timeRangeQuery(9n, 0n, 9)), 400, "start=9 is after end=0"],
    [await client.openTrace(QueryHelper.query()), 400, "uri is missing"],
    [await client.createConfiguration("x", { name: "x", parameters: {} } as never), 404, "nothing at this address"],
    [await client.updateExperiment(uuid, QueryHelper.query()), 405, "only shows its dataset"],
  ] as const) {
    expect([answer.getStatusCode(), answer.getErrorResponse()?.title], title).toEqual([status, expect.stringContaining(title)]);
  }
});

for (const { name, dataset } of datasets) {
  test(`every row of ${name} has the states that the reader sums`, async ({ serve, read }) => {
    const reader = read(dataset());
    const seen = await Seen.by(await serve(dataset(), TSP), reader);
    const tracks = await reader.tracks();
    const { start, end } = seen.experiment;
    let told = 0;
    for (const output of GRAPHS) {
      const rows = await seen.rows(output);
      const styles = completed(await seen.client.fetchStyles(seen.uuid, output, QueryHelper.query())).styles;
      for (const times of [1, 50, 1000, 20_000]) {
        const answer = await seen.states(output, rows, start, end, times);
        expect(answer.map((row) => row.entryId)).toEqual(rows.map(({ entry }) => entry.id));
        for (const { states } of answer) {
          // Intervals may be twice as many as times; of bins there may be one, that has every state in every hue.
          expect(states.length).toBeLessThanOrEqual(Math.max(2 * times, 74));
          const inOrder = ({ start: from, end: to }: TimeGraphState, n: number) => from >= start && to <= end && (n === 0 || from >= states[n - 1]!.end);
          expect(states.filter((state, n) => !inOrder(state, n) || !(state.style!.parentKey! in styles))).toEqual([]);
          told += states.length;
        }
        for (const track of tracks.filter(({ kind }) => (output === "havana.resources" ? kind === "cpu" : kind === "vcpu" || kind === "process"))) {
          // A process has a row on each vCPU.
          const its = rows.flatMap((row, n) => (row.kind === track.kind && row.id === track.id ? [answer[n]!.states] : []));
          for (const [state, ticks] of Object.entries(track.states)) {
            const shown = sum(its.map((states) => long(states, state, start, end)));
            const within = sum(its.map((states) => states.length)) + 1;
            expect(Math.abs(shown - seen.long(ticks)), `${output} ${track.kind} ${track.id} ${state} of ${times}`).toBeLessThanOrEqual(within);
          }
        }
      }
    }
    expect(told > 0).toBe(tracks.length > 0);
  });
}

test("close enough, states are the intervals, and the tooltip knows all of them", async ({ serve, read }) => {
  const random = new Random(7);
  const reader = read(overcommit());
  const seen = await Seen.by(await serve(overcommit(), TSP), reader);
  const { start, end } = seen.experiment;
  let looked = 0;
  for (const output of GRAPHS) {
    const rows = await seen.rows(output);
    for (let n = 0; n < 20; n++) {
      const from = start + BigInt(Math.floor(random.next() * Number(end - start - 2_000_000n)));
      const answer = await seen.states(output, rows, from, from + 2_000_000n, 1000);
      for (const [place, { states }] of answer.entries()) {
        const row = rows[place]!;
        for (const state of states.filter(() => random.next() < 0.2)) {
          const middle = seen.tick(state.start) + (seen.tick(state.end) - seen.tick(state.start)) / 2;
          const found = (await reader.at([[row.kind, row.id, Math.round(middle)]]))[0]!.find(({ vcpu }) => row.kind !== "process" || vcpu === row.vcpu);
          // Shorter than what a nanosecond tells apart.
          if (state.end - state.start < 3n) continue;
          expect(found?.state).toBe(stateOf(state.style));
          expect(Math.abs(seen.long(found!.start) - Number(state.start - start))).toBeLessThanOrEqual(2);
          const element = { elementType: "state", time: state.start, duration: state.end - state.start };
          const query = QueryHelper.selectionTimeQuery([state.start], [row.entry.id], { requested_element: element });
          const tooltip = completed(await seen.client.fetchTimeGraphTooltip(seen.uuid, output, query)) as unknown as Record<string, string>;
          expect(tooltip).toMatchObject({ State: found!.state.replace("_", " "), Evidence: found!.evidence });
          expect(tooltip.Shown).toBeUndefined();
          looked++;
        }
      }
    }
  }
  expect(looked).toBeGreaterThan(100);

  // Of all of it a state is no interval, and that is said.
  const [row] = await seen.rows("havana.resources");
  const { states } = (await seen.states("havana.resources", [row!], start, end, 50))[0]!;
  const element = { elementType: "state", time: states[3]!.start, duration: states[3]!.end - states[3]!.start };
  const query = QueryHelper.selectionTimeQuery([states[3]!.start], [row!.entry.id], { requested_element: element });
  expect(completed(await seen.client.fetchTimeGraphTooltip(seen.uuid, "havana.resources", query))).toHaveProperty("Shown");
});

test("arrows go from where it ran to where it ran next", async ({ serve, read }) => {
  const told: Record<string, number> = {};
  for (const { dataset } of datasets) {
    const reader = read(dataset());
    const seen = await Seen.by(await serve(dataset(), TSP), reader);
    const { start, end } = seen.experiment;
    for (const output of GRAPHS) {
      const byId = new Map((await seen.rows(output)).map((row) => [row.entry.id, row]));
      // A client's time is that of several ticks: the interval in the guest at one of them.
      const at = async (row: Row, time: bigint, ticks: number[]) => {
        const tick = Math.floor(seen.tick(time));
        const found = (await reader.at(ticks.map((off) => [row.kind, row.id, tick + off]))).flat();
        return found.find(({ vcpu, state }) => state === "guest" && (row.kind !== "process" || vcpu === row.vcpu))!;
      };
      for (let n = 0n; n < 10n; n++) {
        const from = start + ((end - start) * n) / 10n;
        const query = QueryHelper.timeRangeQuery(from, from + (end - start) / 100n, 2000);
        for (const arrow of completed(await seen.client.fetchTimeGraphArrows(seen.uuid, output, query)).slice(0, 3)) {
          const [source, target] = [byId.get(arrow.sourceId)!, byId.get(arrow.targetId)!];
          const [before, after] = [await at(source, arrow.start, [-1, 0, 1, 2]), await at(target, arrow.end, [0, 1, 2, 3])];
          expect(source).not.toEqual(target);
          if (output === "havana.resources") expect(before.vcpu).toBe(after.vcpu);
          else expect(before.process).toBe(after.process);
          told[output] = (told[output] ?? 0) + 1;
        }
      }
    }
  }
  console.log(`arrows looked at: ${JSON.stringify(told)}`);
  for (const output of GRAPHS) expect(told[output]).toBeGreaterThan(0);
});

test("lines hold the reader's counts, whatever part of it is asked for", async ({ serve, read }) => {
  for (const dataset of [noisyNeighbour().dataset, overcommit()]) {
    const reader = read(dataset);
    const seen = await Seen.by(await serve(dataset, TSP), reader);
    const { start, end } = seen.experiment;
    const span = Number(end - start);
    const { exits } = await reader.about();
    const guest = new Map<number, number>();
    for (const [kind, , state, , byKind, byId, ticks] of await reader.sums(0, seen.tick(end) + 1)) {
      if (kind === "cpu" && state === "guest" && byKind === "vm") guest.set(byId, (guest.get(byId) ?? 0) + ticks);
    }
    for (const times of [2, 100, 1000]) {
      for (const [output, expected] of [["havana.exits", exits], ["havana.busy", seen.long(sum([...guest.values()]))]] as const) {
        const { entries } = completed(await seen.client.fetchXYTree(seen.uuid, output, QueryHelper.query()));
        const query = QueryHelper.selectionTimeRangeQuery(start, end, times, entries.map(({ id }) => id));
        const { series } = completed(await seen.client.fetchXY(seen.uuid, output, query));
        expect(series.map(({ seriesId }) => seriesId)).toEqual(entries.map(({ id }) => id));
        // Each value stands for the time to the next.
        const area = series.map(({ xValues, yValues }) => {
          expect(xValues!.length).toBe(yValues.length);
          expect(yValues.length).toBeLessThanOrEqual(times + 2);
          return sum(yValues.map((y, n) => y * Number((xValues![n + 1] ?? end) - xValues![n]!)));
        });
        const whole = output === "havana.exits" ? 1e9 : 1;
        expect(area[0]! / whole / expected, `${output} ${times}`).toBeCloseTo(1, 4);
        expect(sum(area.slice(1)) / area[0]!).toBeCloseTo(1, 6);
        if (output === "havana.busy") {
          for (const [vm, ticks] of guest) expect(area[vm + 1]! / seen.long(ticks)).toBeCloseTo(1, 4);
        }
      }
    }
    // A part of it: each bin against the reader's count.
    const [from, to] = [start + BigInt(Math.floor(span * 0.4)), start + BigInt(Math.floor(span * 0.45))];
    const query = QueryHelper.selectionTimeRangeQuery(from, to, 64, [1]);
    const [line] = completed(await seen.client.fetchXY(seen.uuid, "havana.exits", query)).series;
    const bins = line!.xValues!.slice(0, -1).map((x, n) => [Math.round(seen.tick(x)), Math.round(seen.tick(line!.xValues![n + 1]!))] as [number, number]);
    const counts = new Map((await reader.rate(bins)).filter(([, , vm]) => vm === 0).map(([begin, , , count]) => [begin, count]));
    bins.forEach(([begin, until], n) => {
      const shown = (line!.yValues[n]! * seen.long(until - begin)) / 1e9;
      // A border lies within a nanosecond.
      expect(Math.abs(shown - (counts.get(begin) ?? 0))).toBeLessThan(1.5);
    });
  }
});

test("the tree of times holds the reader's sums", async ({ serve, read }) => {
  const reader = read(overcommit());
  const seen = await Seen.by(await serve(overcommit(), TSP), reader);
  const { headers, entries } = completed(await seen.client.fetchDataTree(seen.uuid, "havana.time", QueryHelper.query()));
  const columns = headers.map(({ name }) => name.replace(" [s]", "").replace(" ", "_"));
  const vms = (await reader.tracks()).filter(({ kind }) => kind === "vm");
  const shown = entries.filter(({ parentId }) => parentId === undefined);
  expect(shown).toHaveLength(vms.length);
  vms.forEach((vm, n) => {
    for (const [state, ticks] of Object.entries(vm.states)) expect(Number(shown[n]!.labels[columns.indexOf(state)])).toBeCloseTo(seen.long(ticks) / 1e9, 8);
  });
});

test("findings are a table, and marks on the time axis and on rows", async ({ serve, read }) => {
  const dataset = noisyNeighbour().dataset;
  const reader = read(dataset);
  const seen = await Seen.by(await serve(dataset, TSP), reader);
  const findings = (await reader.findings())!;
  expect(findings.length).toBeGreaterThan(1);
  const { client, uuid } = seen;
  const columns = completed(await client.fetchTableColumns(uuid, "havana.findings", QueryHelper.query()));
  const title = columns.find(({ name }) => name === "Finding")!.id;
  const lines = async (query: object) => completed(await client.fetchTableLines(uuid, "havana.findings", QueryHelper.query(query as never)));
  const all = await lines({ requested_table_index: 0, requested_table_count: 100, requested_table_column_ids: [title] });
  expect([all.size, all.lines.map(({ cells }) => cells[0]!.content)]).toEqual([findings.length, findings.map((finding) => finding.title)]);
  const second = { requested_table_index: 1, requested_table_count: 1 };
  expect((await lines(second)).lines.map(({ index, cells }) => [index, cells[title]!.content])).toEqual([[1, findings[1]!.title]]);
  const search = { table_search_expressions: { [title]: findings[1]!.title.slice(0, 20).toUpperCase() }, table_search_direction: "NEXT" };
  const found = await lines({ requested_table_index: 0, requested_table_count: 1, ...search });
  expect(found.lines[0]!.cells[title]!.content).toContain(findings[1]!.title.slice(0, 20));
  expect(found.lines[0]!.tags).toBe(8);

  const [category] = completed(await client.fetchAnnotationsCategories(uuid, "havana.vms")).annotationCategories;
  const query = QueryHelper.timeRangeQuery(seen.experiment.start, seen.experiment.end, 1000);
  const annotations = completed(await client.fetchAnnotations(uuid, "havana.vms", query)).annotations[category!]!;
  expect(annotations.filter(({ entryId }) => entryId === -1).map(({ label }) => label)).toEqual(findings.map((finding) => finding.title));
  const ids = new Map((await seen.rows("havana.vms")).map((row) => [row.entry.id, row]));
  const onRows = annotations.filter(({ entryId }) => entryId !== -1);
  expect(onRows.length).toBeGreaterThan(0);
  for (const { entryId, time, duration, label } of onRows) {
    const row = ids.get(entryId)!;
    const its = findings.filter((finding) => finding.title === label).flatMap(({ spans }) => spans);
    const near = (ticks: number, at: bigint) => Math.abs(seen.long(ticks) - Number(at - seen.experiment.start)) <= 2;
    expect(its.some((span) => near(span.start, time) && near(span.end, time + duration) && span.vcpu_id === row.vcpu)).toBe(true);
  }
  // Another category, or another time: none.
  const other = QueryHelper.timeRangeQuery(seen.experiment.start, seen.experiment.end, 1000, { requested_marker_categories: ["x"] });
  expect(completed(await client.fetchAnnotations(uuid, "havana.vms", other)).annotations[category!]).toEqual([]);
});
