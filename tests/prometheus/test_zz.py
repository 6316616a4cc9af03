import time
def test_x(trained):
    p=trained.prometheus
    for q in ("tracelet_run_outcome_ratio", "tracelet_run_ended_ratio", "last_over_time(tracelet_run_outcome_ratio{outcome='failed'}[44s])"):
        for l,v in p.query(q, trained.alive): print(l.get("tracelet_run_name"), l.get("outcome"), l.get("tracelet_sequence"), v)
    for l,v in p.query("timestamp(tracelet_run_outcome_ratio)"): print(l.get("tracelet_run_name"), l.get("outcome"), v-trained.began)
    print(trained.alive-trained.began, trained.chain.said)
    import sys; print(p.firing())
    assert 0
