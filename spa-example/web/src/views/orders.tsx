import { StepUpRequiredError } from '@token-handler/client'
import { stepUp } from '@token-handler/client/step-up'
import { useCallback, useEffect, useState, type ReactNode, type SubmitEvent } from 'react'
import { StepUpCard } from '../parts/step-up-card.tsx'
import { LoginButton } from '../parts/login-button.tsx'
import { useProblem } from '../problem-context.ts'
import { readAnswer } from '../problems.ts'
import { repeated } from '../repeated.ts'
import { backendUrl, client } from '../session.ts'

interface Order {
  readonly id: number
  readonly item: string
  readonly quantity: number
  readonly created_at: string
  readonly cancelled_at?: string
}

export function Orders({ isLoggedIn }: { readonly isLoggedIn: boolean }): ReactNode {
  const { attempt } = useProblem()
  const [orders, setOrders] = useState<readonly Order[]>()
  const [item, setItem] = useState('')
  const [quantity, setQuantity] = useState('1')
  const [busy, setBusy] = useState(false)

  const load = useCallback(
    () =>
      attempt(async () => {
        const answer = (await readAnswer(await client.fetch(backendUrl('/api/orders')))) as { orders: readonly Order[] }
        setOrders(answer.orders)
      }),
    [attempt],
  )
  useEffect(() => {
    // A call that was kept over a login may change what there is to load.
    if (isLoggedIn) void repeated.catch(() => undefined).then(load)
    else setOrders(undefined)
  }, [isLoggedIn, load])

  const place = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    const body = JSON.stringify({ item, quantity: Number(quantity) })
    const headers = { 'content-type': 'application/json' }
    const placed = await attempt(async () => {
      await readAnswer(await client.fetch(backendUrl('/api/orders'), { method: 'POST', headers, body }))
    })
    if (placed && (await load())) {
      setItem('')
      setQuantity('1')
    }
    setBusy(false)
  }

  const [demand, setDemand] = useState<StepUpRequiredError>()
  const cancel = (order: Order): Promise<unknown> =>
    attempt(async () => {
      try {
        await readAnswer(await client.fetch(backendUrl(`/api/cancellations/${order.id}`), { method: 'PUT' }))
        await load()
      } catch (error) {
        if (!(error instanceof StepUpRequiredError)) throw error
        setDemand(error)
      }
    })

  return (
    <div data-testid="orders-view">
      <section className="lead">
        <h1>Orders</h1>
        <p>Reading and writing through the proxy. The calls carry a sealed cookie; the API receives a bearer token.</p>
      </section>
      <form className="card order-form" data-testid="order-form" onSubmit={(event) => void place(event)}>
        <label>
          Item
          <input
            name="item"
            value={item}
            required
            maxLength={200}
            placeholder="Sealing wax"
            autoComplete="off"
            data-testid="order-item"
            onChange={(event) => setItem(event.target.value)}
          />
        </label>
        <label>
          Quantity
          <input
            name="quantity"
            type="number"
            min="1"
            max="1000"
            value={quantity}
            required
            data-testid="order-quantity"
            onChange={(event) => setQuantity(event.target.value)}
          />
        </label>
        <button type="submit" className="primary" disabled={busy || !isLoggedIn} data-testid="order-submit">
          {busy ? 'Placing …' : 'Place order'}
        </button>
      </form>
      {isLoggedIn && demand !== undefined && (
        <StepUpCard
          demand={demand}
          onConfirm={() => void attempt(() => stepUp(client, demand))}
          onDismiss={() => setDemand(undefined)}
        />
      )}
      {isLoggedIn ? (
        <OrderTable orders={orders} onReload={() => void load()} onCancel={(order) => void cancel(order)} />
      ) : (
        <section className="card empty" data-testid="orders-login">
          <p>Log in to see your orders and to place new ones. You come back to this page.</p>
          <LoginButton testId="login-orders" />
        </section>
      )}
    </div>
  )
}

interface OrderTableProps {
  readonly orders: readonly Order[] | undefined
  readonly onReload: () => void
  readonly onCancel: (order: Order) => void
}

function OrderTable({ orders, onReload, onCancel }: OrderTableProps): ReactNode {
  if (orders === undefined) return <p className="loading">Loading …</p>
  return (
    <section className="card" aria-labelledby="your-orders">
      <div className="title">
        <h2 id="your-orders">Your orders</h2>
        <button type="button" className="small" data-testid="orders-reload" onClick={onReload}>
          Reload
        </button>
      </div>
      {orders.length === 0 ? (
        <p className="quiet" data-testid="orders-empty">
          None yet. The form above makes the first one.
        </p>
      ) : (
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">No.</th>
                <th scope="col">Item</th>
                <th scope="col">Quantity</th>
                <th scope="col">Placed</th>
                <th scope="col" aria-label="Cancel" />
              </tr>
            </thead>
            <tbody data-testid="orders">
              {orders.toReversed().map((order) => (
                <tr key={order.id} data-testid="order">
                  <td>{order.id}</td>
                  <td className="wide">{order.item}</td>
                  <td>{order.quantity}</td>
                  <td>
                    <time dateTime={order.created_at}>{new Date(order.created_at).toLocaleTimeString()}</time>
                  </td>
                  <td>
                    {order.cancelled_at === undefined ? (
                      <button
                        type="button"
                        className="small"
                        data-testid="order-cancel"
                        onClick={() => onCancel(order)}
                      >
                        Cancel
                      </button>
                    ) : (
                      <span className="tag off" data-testid="order-cancelled">
                        cancelled
                      </span>
                    )}
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
