/** Where lines go. */
export interface AuditSink {
  /** Whether parts are files of their own, a new one every day. */
  readonly hasParts: boolean
  /**
   * Begins a part; what is written next goes there. May be called again with the same name after it failed.
   */
  open(name: string): Promise<void>
  /**
   * Writes whole lines, all of them or throws. After it threw it is called with the same text again, until it succeeds: what
   * has been written of it already is not written twice.
   */
  write(text: string): Promise<void>
  /** Gives up what a write waits for, and frees what is held. */
  close(): Promise<void>
}
