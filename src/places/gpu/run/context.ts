/** What the parts of a place on the device have in common. */
import type { LayerCounts } from "../../stats.ts";
import type { Commands } from "../device/commands.ts";
import type { Pipelines } from "../device/device.ts";
import type { Buffers, Uniforms } from "../memory/buffers.ts";
import type { DeviceLayout, LayoutOptions } from "../memory/layout.ts";
import type { Weights } from "../memory/weights.ts";

export interface KernelContext {
  readonly commands: Commands;
  readonly buffers: Buffers;
  readonly pipelines: Pipelines;
  readonly uniforms: Uniforms;
  readonly step: GPUBuffer;
  readonly counters: GPUBuffer;
}

/** What its attention, neurons and head need beside. */
export interface PlaceContext extends KernelContext {
  readonly options: LayoutOptions;
  readonly layout: DeviceLayout;
  readonly weights: Weights;
  readonly counts: LayerCounts;
  /** `[tokens, 2]`: 1 / rms, where norms are shared with other places */
  readonly scales?: GPUBuffer;
}
