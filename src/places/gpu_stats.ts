/** How a GPU takes part, and what it has done. */

/** What the GPU's place has done since the start. */
export interface GpuCounts {
  /** Kernels started */
  readonly dispatches: number;
  /** Times that work was submitted to the device */
  readonly submits: number;
  /** Times that results were waited for */
  readonly readBacks: number;
  /** Bytes sent to the device, weights left out */
  readonly uploaded: number;
  /** Bytes fetched from it */
  readonly downloaded: number;
}

/** The counts of a place that has done nothing yet. */
export const noGpuCounts: GpuCounts = {
  dispatches: 0,
  submits: 0,
  readBacks: 0,
  uploaded: 0,
  downloaded: 0,
};

/** How fast a GPU computes. */
export interface GpuSpeed {
  /** Bytes of weights that it streams in a ms */
  readonly stream: number;
  /** What starting a kernel takes, beside what it reads, in ms; 0 where that could not be measured */
  readonly dispatchMs: number;
}

/** How a GPU takes part. */
export interface GpuStats {
  /** Its name, and how it is used, for people: `NVIDIA …, synchronous read-back` */
  readonly name: string;
  /** Bytes of every buffer on the device */
  readonly bytes: number;
  /** What a read-back takes, in ms */
  readonly readBackMs: number;
  /** What it has done so far */
  counts: GpuCounts;
}

/** The same, with what a planner requires. */
export interface MeasuredGpu extends GpuStats {
  /** Where `forPlan` was set */
  readonly speed?: GpuSpeed;
}
