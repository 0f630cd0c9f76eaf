"""Claims, each made once from tables; titles, answers, findings and the page render them."""
