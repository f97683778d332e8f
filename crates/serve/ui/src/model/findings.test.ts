import { describe, expect, it } from 'vitest';
import type { Finding, FindingSpan } from '../api/types';
import { Clock } from '../layout/format';
import { LANES, drawnMarks, marksAt, marksOf } from '../layout/marks';
import { Scale } from '../layout/scale';
import { SPAN, data } from '../test/data';
import { Findings, rowOfFinding, rowsOfSpan, severityWords, whenWords } from './findings';

const span = (start: number, end: number, of: Partial<FindingSpan> = {}): FindingSpan => ({
  cpu: null,
  vcpu_id: null,
  process_id: null,
  start,
  end,
  ...of,
});
let id = 0;
const finding = (of: Partial<Finding>): Finding => ({
  finding_id: id++,
  kind: 'consumption',
  severity: 'high',
  title: 'x',
  score: 1,
  sure: 1,
  vm_id: null,
  vcpu_id: null,
  process_id: null,
  start: null,
  end: null,
  spans: [],
  ...of,
});
const of = (...findings: Finding[]) => new Findings({ known: true, findings }, SPAN);

describe('what a finding stands for in time', () => {
  const one = (f: Partial<Finding>) => {
    const made = finding(f);
    const all = of(made);
    return { ...all.placeOf(made), sight: all.sightOf(made), words: whenWords(made, all.placeOf(made), new Clock(1000), SPAN) };
  };

  it('goes on to the end where it has none', () => {
    expect(one({ start: 400 })).toMatchObject({ from: 400, to: SPAN, is: 'range', words: 'from 0.400 s on' });
    expect(one({ start: 400, end: 600 })).toMatchObject({ from: 400, to: 600, is: 'range', words: '0.400–0.600 s' });
    expect(one({ end: 600 })).toMatchObject({ from: 0, to: 600, words: 'until 0.600 s' });
    // What was before it is in sight.
    expect(one({ start: 400 }).sight.from).toBeLessThan(400);
  });

  it('of the trace is a moment, between bounds where these are known', () => {
    expect(one({ kind: 'trace', start: 400 })).toMatchObject({ from: 400, to: 400, is: 'moment', words: 'at 0.400 s' });
    const { sight } = one({ kind: 'trace', start: 400 });
    expect(sight.from).toBeLessThan(350);
    expect(sight.to).toBeGreaterThan(450);
    expect(one({ kind: 'trace', start: 400, end: 440 })).toMatchObject({
      from: 400,
      to: 440,
      is: 'moment',
      words: 'between 0.400 and 0.440 s',
    });
  });

  it('all along is seen at the longest interval that proves it', () => {
    expect(one({ spans: [span(700, 705), span(100, 130), span(300, 310)] })).toMatchObject({
      from: 100,
      to: 130,
      is: 'evidence',
      words: 'all along',
    });
    expect(one({})).toMatchObject({ from: 0, to: SPAN, is: 'range', words: 'all along' });
  });

  it('never leaves the capture', () => {
    expect(one({ start: -20, end: SPAN + 50 })).toMatchObject({ from: 0, to: SPAN });
  });
});

it('counts by severity, the worst first, and leaves out what is not there', () => {
  expect(of(finding({ severity: 'low' }), finding({}), finding({ severity: 'low' })).counts).toEqual([
    ['high', 1],
    ['low', 2],
  ]);
});

it('is only perhaps so below three quarters', () => {
  expect(severityWords(finding({ sure: 0.74 }))).toBe('high, perhaps');
  expect(severityWords(finding({ sure: 0.75 }))).toBe('high');
});

describe('rows', () => {
  it('of an interval are those that exist; of none, the VM', () => {
    expect(rowsOfSpan(finding({}), span(0, 1, { cpu: 1, vcpu_id: 2, process_id: 5 }), data)).toEqual(['process.5', 'vcpu.2', 'cpu.1']);
    // A process of the host has no row; neither has what is not in the dataset.
    expect(rowsOfSpan(finding({}), span(0, 1, { cpu: 9, vcpu_id: 2, process_id: 6 }), data)).toEqual(['vcpu.2']);
    expect(rowsOfSpan(finding({ vm_id: 1 }), span(0, 1), data)).toEqual(['vm.1']);
  });

  it('of a finding is whom it is about; of time that was taken, the vCPU that lost it', () => {
    const spans = [span(0, 1, { cpu: 0, vcpu_id: 0, process_id: 5 }), span(5, 9, { cpu: 1, vcpu_id: 1, process_id: 5 })];
    expect(rowOfFinding(finding({ vm_id: 1, vcpu_id: 2, process_id: 5, spans }), data)).toBe('process.5');
    expect(rowOfFinding(finding({ kind: 'steal', vm_id: 1, process_id: 5, spans }), data)).toBe('vcpu.1');
    expect(rowOfFinding(finding({ kind: 'steal', process_id: 6, spans: [span(0, 1, { cpu: 1 })] }), data)).toBe('cpu.1');
    expect(rowOfFinding(finding({ kind: 'trace', vm_id: 1, spans: [span(0, 1)] }), data)).toBe('vm.1');
    expect(rowOfFinding(finding({ kind: 'trace' }), data)).toBeNull();
  });
});

describe('marks', () => {
  it('that touch stand in lanes of their own, the first nearest', () => {
    const marks = marksOf(
      of(
        finding({ start: 500 }),
        finding({ start: 0, end: 300 }),
        finding({ start: 100, end: 600 }),
        finding({ start: 450, end: 900 }),
        finding({ start: 460 }),
      ),
      10,
    );
    expect(marks.map((m) => m.lane)).toEqual([0, 0, 1, 2, LANES - 1]);
  });

  it('are found by their heads first, then by their lines, in their lane alone', () => {
    const findings = of(finding({ start: 500 }), finding({ start: 200, end: 600 }));
    const drawn = drawnMarks(marksOf(findings, 10), new Scale(0, SPAN, 1000), 18);
    const at = (x: number, y: number) => marksAt(drawn, x, y).map((m) => m.place.from);
    expect(at(500, 15)).toEqual([500]);
    expect(at(800, 15)).toEqual([500]);
    expect(at(300, 15)).toEqual([]);
    expect(at(300, 9)).toEqual([200]);
    expect(at(700, 9)).toEqual([]);
  });

  it('at the edge are seen whole, out of sight not at all', () => {
    const findings = of(finding({ start: 0, end: 100 }), finding({ kind: 'trace', start: SPAN }));
    expect(drawnMarks(marksOf(findings, 10), new Scale(0, SPAN, 500), 18).map((m) => m.head)).toEqual([5, 495]);
    expect(drawnMarks(marksOf(findings, 10), new Scale(300, 400, 500), 18)).toEqual([]);
  });
});
