"""Opens MLflow's pages over the record of experiments, and prints their address: make ui, or python src/ui.py

The page shows the figures of the runs and the settings in which they differ. The store is that of MLFLOW_TRACKING_URI,
or mlflow.db; the pages of a store on a server are that server's, and only their address is printed. Ctrl-C ends it.
"""

from darkaction.core import cli


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--port", type=cli.positive, default=5000, metavar="N", help="default: 5000")
    port = parser.parse_args().port
    from darkaction.core.paths import Paths
    from darkaction.core.redact import without_credentials
    from darkaction.tracking import pages
    from darkaction.tracking.store import open_store, tracking_uri

    paths = Paths()
    store = tracking_uri(paths.root)
    is_server = store.startswith("http")
    if not is_server:
        pages.check_free(port)
    page = pages.prepare_pages(open_store(paths))
    if is_server:
        print(f"the pages of the server: {without_credentials(store).rstrip('/')}{page}")
        return
    print("MLflow's server starts: some seconds", flush=True)
    server = pages.start_server(store, port)
    try:
        print(f"http://{pages.HOST}:{port}{page}")
        print(f"(http://{pages.ADDRESS}:{port} where a browser does not find it; Ctrl-C ends it)", flush=True)
        server.wait()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    cli.run(main)
