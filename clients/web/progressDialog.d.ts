export interface ProgressDialogWords {
  /** The button that hides the dialog while the work goes on. Default "Hide". */
  hide?: string;
  /** The button that aborts. Default "Abort". */
  abort?: string;
  /** The question after Escape. */
  asking?: string;
  /** Until the aborted work has ended. Default "Aborting…". */
  aborting?: string;
}

export interface ProgressDialogOptions {
  /** The heading, which also names the dialog and its bar. Default "Please wait". */
  title?: string;
  /** Names of the steps, in order; without them there is no list. */
  steps?: string[];
  /** Whether the dialog can be hidden as long as nothing can be aborted. Default true. */
  hideable?: boolean;
  /** Called when the user has hidden the dialog; `open()` shows it again. */
  onHide?(): void;
  /** Milliseconds between two texts for screen readers; what matters is told at once. Default 5000. */
  announceEvery?: number;
  words?: ProgressDialogWords;
  /** Stands for the page's document. */
  document?: Document;
  now?: () => number;
  setTimeout?: (run: () => void, ms: number) => unknown;
  clearTimeout?: (timer: any) => void;
}

export interface Progress {
  /** What the backend says; cut after 300 characters. */
  text?: unknown;
  /** 0 to 100; null when nobody knows, which shows a bar without an end. */
  percent?: number | null;
  /** Counted from 0. A number past the last marks all as done. */
  step?: number;
}

export interface ProgressDialog {
  /** The `<dialog>`, for styles of the page's own. */
  readonly element: HTMLDialogElement;
  /** Shows the dialog in front of the page and moves the focus into it. */
  open(): void;
  /** Takes it away, forgets what it showed, and gives the focus back. */
  close(): void;
  /** Does nothing while it is closed: a report that comes late. */
  update(progress: Progress): void;
  /**
   * From now on the work can be aborted: `run` is called once, when the user wants it. A hidden dialog
   * comes back. The invitation is shown and told at once.
   */
  offerAbort(run: () => void, invitation?: string): void;
  /** Stays open until the promise is settled, and gives its outcome. */
  during<T>(work: Promise<T>): Promise<T>;
  isOpen(): boolean;
}

/** Makes a dialog for one kind of work; it can be opened again and again. */
export function progressDialog(options?: ProgressDialogOptions): ProgressDialog;

export default progressDialog;
