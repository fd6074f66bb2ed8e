import type { UploadProgress } from '@token-handler/client/capabilities'
import { useRef, useState, useSyncExternalStore, type ReactNode, type SubmitEvent } from 'react'
import { addSentFile, capabilities, onSentFiles, sentFiles, type SentFile } from '../files.ts'
import { LoginButton } from '../parts/login-button.tsx'
import { useProblem } from '../problem-context.ts'

/** Straight to and from a storage, which knows neither our cookies nor our tokens. */
export function Files({ isLoggedIn }: { readonly isLoggedIn: boolean }): ReactNode {
  return (
    <div data-testid="files-view">
      <section className="lead">
        <h1>Files</h1>
        <p>
          They go straight to a storage. For each one the agent issues a capability: a URL for this one object, this
          type and this size, good for a minute, and recorded.
        </p>
      </section>
      {isLoggedIn ? (
        <>
          <UploadCard />
          <FileTable />
        </>
      ) : (
        <section className="card empty" data-testid="files-login">
          <p>Log in to send and fetch files. You come back to this page.</p>
          <LoginButton testId="login-files" />
        </section>
      )}
    </div>
  )
}

function UploadCard(): ReactNode {
  const { attempt } = useProblem()
  const [file, setFile] = useState<File>()
  const [progress, setProgress] = useState<UploadProgress>()
  const aborting = useRef<AbortController>(undefined)
  const input = useRef<HTMLInputElement>(null)

  const send = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    if (file === undefined) return
    const controller = new AbortController()
    aborting.current = controller
    setProgress({ sentBytes: 0, totalBytes: file.size })
    await attempt(async () => {
      try {
        const { signal } = controller
        await capabilities.upload('uploads', file, { checksum: true, onProgress: setProgress, signal })
        addSentFile({ name: file.name, bytes: file.size, at: new Date() })
        if (input.current !== null) input.current.value = ''
        setFile(undefined)
      } catch (error) {
        // Stopped on purpose is no problem.
        if (!controller.signal.aborted) throw error
      }
    })
    setProgress(undefined)
  }

  return (
    <form className="card upload-form" onSubmit={(event) => void send(event)}>
      <label>
        Image, text, PDF, ZIP or JSON, up to 64 MB
        <input
          ref={input}
          type="file"
          accept="image/*,text/plain,text/csv,application/pdf,application/zip,application/json"
          required
          disabled={progress !== undefined}
          data-testid="file"
          onChange={(event) => setFile(event.target.files?.[0])}
        />
      </label>
      {progress === undefined ? (
        <button key="send" type="submit" className="primary" disabled={file === undefined} data-testid="upload">
          Send to storage
        </button>
      ) : (
        // A button of its own: turned into the other one during the click, it would send the form.
        <button key="stop" type="button" data-testid="upload-stop" onClick={() => aborting.current?.abort()}>
          Stop
        </button>
      )}
      {progress !== undefined && (
        <progress
          value={progress.sentBytes}
          max={progress.totalBytes || 1}
          aria-label="Sent so far"
          data-testid="upload-progress"
        />
      )}
    </form>
  )
}

function FileTable(): ReactNode {
  const { attempt } = useProblem()
  const files = useSyncExternalStore(onSentFiles, sentFiles)
  const fetchFile = (file: SentFile): Promise<unknown> =>
    attempt(async () => {
      const response = await capabilities.download('downloads', { file: file.name })
      save(await response.blob(), file.name)
    })
  return (
    <section className="card" aria-labelledby="your-files">
      <h2 id="your-files">Sent from this page</h2>
      {files.length === 0 ? (
        <p className="quiet" data-testid="files-empty">
          None yet. This list is forgotten with the page; the storage keeps the files as long as the demo runs.
        </p>
      ) : (
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Size</th>
                <th scope="col">Sent</th>
                <th scope="col" aria-label="Fetch" />
              </tr>
            </thead>
            <tbody>
              {files.map((file) => (
                <tr key={file.name} data-testid="sent-file">
                  <td className="wide">{file.name}</td>
                  <td>{formatBytes(file.bytes)}</td>
                  <td>
                    <time dateTime={file.at.toISOString()}>{file.at.toLocaleTimeString()}</time>
                  </td>
                  <td>
                    <button type="button" className="small" data-testid="download" onClick={() => void fetchFile(file)}>
                      Fetch
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  return bytes < 1_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`
}
